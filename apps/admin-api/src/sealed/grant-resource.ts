import { randomUUID } from 'node:crypto';

import {
  CryptoError,
  jwkFromPoint,
  type KeyVault,
  recipientThumbprint,
  sealRecipeKey,
  type SegmentKind,
  signGrantToken,
  statementHash,
} from '@azaion/crypto';
import type { FolderPolicy } from '@azaion/identity';
import type { Clock, ResourceName } from '@azaion/kernel';
import {
  type GrantAnswer,
  MAX_PACK_URLS,
  type ObjectStore,
  type PackId,
  type PackUrl,
  ResourceError,
} from '@azaion/split-resource';
import type { Nullable, Selectable } from 'kysely';

import { type AuditLog, recording } from '../audit/audit-log.js';
import { AdminError } from '../errors.js';
import type { StatementAuthority } from '../keys/statement-authority.js';
import type { StatedVersion, TrustedStatements } from '../keys/trusted-statements.js';
import type { Database } from '../persistence/database.js';
import type { GrantsTable, VersionsTable } from '../persistence/schema.js';
import { recipeRow } from './commit-upload.js';
import { actorOf, type Standing } from './current-standing.js';
import { joinedPolicy, type JoinedRules } from './folder-policies.js';
import { assertOpens, type Folders } from './folders.js';
import { packObject, type StoredPack } from './pack-objects.js';

const PERSON_GRANT_SECONDS = 15 * 60;
const URL_SECONDS = 15 * 60;

/** All that a grant asks of the database, at once: each question by itself would cost more than the answer. */
const WANTED = {
  name: 'grant-wanted',
  text: `
    select policy.readers, policy.writers, policy.lease_seconds, policy.quota_bytes, policy.require_attestation,
      policy.people_may_read, owner.serial as key_owner, found.*
    from (values (1)) as one
    left join folder_policies policy on policy.folder = $1
    left join devices owner on owner.agreement_key = $3
    left join lateral (
      select resources.folder_id, resources.pinned_version, latest.version as latest_version,
        versions.resource_id, versions.version, versions.kind, versions.statement, versions.root_hash,
        versions.wrapped_recipe_key, versions.total_bytes, versions.scope, versions.verification,
        (
          select min(kept.version) from versions as kept
          where kept.resource_id = versions.resource_id and kept.state = 'live'
        ) as lowest_version,
        array(
          select pack_id from version_packs join packs on packs.id = pack_id
          where version_packs.resource_id = versions.resource_id and version_packs.version = versions.version
            and packs.object_id is null
          order by position limit ${MAX_PACK_URLS}
        ) as pack_ids
      from folders
      join resources on resources.folder_id = folders.id and resources.name = $2
      left join lateral (
        select version from versions
        where resource_id = resources.id and state = 'live' and scope = any($4)
        order by version desc limit 1
      ) as latest on true
      join versions on versions.resource_id = resources.id
        and versions.version = coalesce($5, resources.pinned_version, latest.version)
      where folders.name = $1 and versions.state = 'live' and (versions.scope = any($4) or $6)
    ) as found on true`,
};

const GIVEN = {
  name: 'grant-given',
  text: `
    with given as (
      insert into grants (id, resource_id, version, subject_id, device_serial, recipient, issued_at, not_after)
      values ($1, $2, $3, $4, $5, $6, $7, $8)
    ), ${recording(9)}
    select 1`,
};

type Version = StatedVersion &
  Pick<Selectable<VersionsTable>, 'wrapped_recipe_key' | 'verification'> & {
    readonly folder_id: string;
    readonly pinned_version: number | null;
    /** The newest that the caller may use; `null` for an administrator who looks at what a device published. */
    readonly latest_version: number | null;
    /** The oldest of all that have not been withdrawn, whoever may use it: it never falls, so no grant contradicts an earlier one. */
    readonly lowest_version: number;
    /** The first ones; those that are compacted are asked for. */
    readonly pack_ids: readonly PackId[];
  };

type WantedRow = JoinedRules & Nullable<Version> & { readonly key_owner: string | null };

/** What a reader asks for, checked for form only. */
export interface GrantRequest {
  readonly resource: ResourceName;
  readonly version: number | undefined;
  /** 65 bytes, untrusted. */
  readonly recipientPoint: Uint8Array;
  readonly nonce: string;
  /** How long a device's lease holds: an administrator's word, within the bounds of folders. What the folder says when left out. */
  readonly leaseSeconds?: number | undefined;
}

/** F2: gives one caller one version, sealed to one key. */
export class GrantResource {
  constructor(
    private readonly database: Database,
    private readonly folders: Folders,
    private readonly store: ObjectStore,
    private readonly vault: KeyVault,
    private readonly authority: StatementAuthority,
    private readonly statements: TrustedStatements,
    private readonly audit: AuditLog,
    private readonly clock: Clock,
  ) {}

  /**
   * @param standing - Who the grant is for.
   * @param actor - Who asks for it: an administrator may, for a device.
   * @throws ResourceError `resource.not-found`; IdentityError `folder.forbidden`; AdminError `device.key-required`;
   *   CryptoError `grant.foreign-recipient`.
   */
  async run(request: GrantRequest, standing: Standing, actor: Standing = standing): Promise<GrantAnswer> {
    assertPoint(request.recipientPoint);
    const { policy, version } = await this.wanted(request, standing);
    const leaseSeconds = request.leaseSeconds ?? policy.leaseSeconds;
    const nowSeconds = Math.floor(this.clock.nowMs() / 1000);
    const lease = standing.deviceSerial !== undefined;
    const notAfter = nowSeconds + (lease ? leaseSeconds : PERSON_GRANT_SECONDS);
    const grantId = randomUUID();
    const statement = await this.statements.of(version);
    const grantToken = await signGrantToken(
      {
        grantId,
        statementHash: statementHash(statement),
        rootHash: version.root_hash,
        subject: standing.userId,
        recipient: recipientThumbprint(request.recipientPoint),
        issuedAt: nowSeconds,
        notAfter,
        latestVersion: version.latest_version ?? version.version,
        minVersion: version.lowest_version,
        nonce: request.nonce,
        lease,
        ...(version.pinned_version === version.version ? { pinned: true } : {}),
      },
      await this.authority.signingKey(),
    );
    const recipeKey = await this.vault.unwrap(
      'recipe',
      recipeRow(version.resource_id, version.version),
      version.wrapped_recipe_key,
    );
    const rootHash = Buffer.from(version.root_hash, 'hex');
    const sealedRecipeKey = await sealRecipeKey(recipeKey, rootHash, request.recipientPoint, grantToken).finally(() =>
      recipeKey.fill(0),
    );
    await this.record(grantId, request, version, { standing, actor }, nowSeconds, notAfter);
    const urls = await Promise.all(
      version.pack_ids.map((id) => this.url({ id, folder_id: version.folder_id, object_id: null, extents: null })),
    );
    const verified = version.verification === 'verified';
    return { grantId, statement, grantToken, sealedRecipeKey, urls, verified };
  }

  /** One sealed segment of a grant. @throws AdminError `grant.not-found`; IdentityError `folder.forbidden`; ResourceError `resource.not-found`. */
  async segment(grantId: string, kind: SegmentKind, index: number, standing: Standing): Promise<Buffer> {
    const grant = await this.valid(grantId, standing);
    const row = await this.database.queries
      .selectFrom('version_segments')
      .select('sealed')
      .where('resource_id', '=', grant.resource_id)
      .where('version', '=', grant.version)
      .where('kind', '=', kind)
      .where('index', '=', index)
      .executeTakeFirst();
    if (!row) throw new ResourceError('resource.not-found', 'The version has no such segment.');
    return row.sealed;
  }

  /** Signed URLs of packs of the granted version. @throws AdminError `grant.not-found`; IdentityError `folder.forbidden`; ResourceError `resource.not-found`. */
  async urls(grantId: string, packIds: readonly PackId[], standing: Standing): Promise<readonly PackUrl[]> {
    const grant = await this.valid(grantId, standing);
    const rows = await this.database.queries
      .selectFrom('version_packs')
      .innerJoin('packs', 'packs.id', 'version_packs.pack_id')
      .distinctOn('packs.id')
      .select(['packs.id', 'packs.folder_id', 'packs.object_id', 'packs.extents', 'packs.compacted_sha256'])
      .where('resource_id', '=', grant.resource_id)
      .where('version', '=', grant.version)
      .where('pack_id', 'in', [...packIds])
      .execute();
    if (rows.length !== new Set(packIds).size)
      throw new ResourceError('resource.not-found', 'The version has no such pack.');
    return Promise.all(
      rows.map(async (row) => {
        const { extents, compacted_sha256: sha256 } = row;
        const url = await this.url(row);
        return extents === null || sha256 === null ? url : { ...url, compacted: { extents, sha256 } };
      }),
    );
  }

  /** What is asked for, when the caller may have it under that key. */
  private async wanted(
    { resource, version, recipientPoint }: GrantRequest,
    standing: Standing,
  ): Promise<{ readonly policy: FolderPolicy; readonly version: Version }> {
    const { role, deviceSerial } = standing;
    const [row] = await this.database.prepared<WantedRow>(WANTED, [
      resource.folder,
      resource.name,
      Buffer.from(recipientPoint),
      // The newest of the fleet's and the device's own; what other devices published does not exist for it.
      ['fleet', `device:${deviceSerial ?? ''}`],
      version ?? null,
      // An administrator may look at what a device published, when it names the version.
      role === 'ApiAdmin' && version !== undefined,
    ]);
    const policy = joinedPolicy(resource.folder, row);
    assertOpens(policy, standing);
    // A device's grants are for its enrolled key, and nobody else's are.
    if ((row?.key_owner ?? undefined) !== deviceSerial)
      throw new AdminError(
        'device.key-required',
        deviceSerial === undefined
          ? 'The recipient key is an enrolled device’s: grants to it are for that device alone.'
          : 'A device gets grants for its enrolled key only.',
      );
    if (!isFound(row)) throw new ResourceError('resource.not-found', 'There is no such resource or version.');
    return { policy, version: row };
  }

  private async record(
    grantId: string,
    { resource, recipientPoint }: GrantRequest,
    version: Version,
    { standing, actor }: { readonly standing: Standing; readonly actor: Standing },
    issuedAtSeconds: number,
    notAfterSeconds: number,
  ): Promise<void> {
    await this.database.prepared(GIVEN, [
      grantId,
      version.resource_id,
      version.version,
      standing.userId,
      standing.deviceSerial ?? null,
      recipientThumbprint(recipientPoint),
      new Date(issuedAtSeconds * 1000),
      new Date(notAfterSeconds * 1000),
      ...this.audit.values({
        event: 'grant.issued',
        actor: actorOf(actor),
        subject: `${resource.folder}/${resource.name}`,
        details: {
          grantId,
          version: version.version,
          notAfter: notAfterSeconds,
          ...(actor === standing ? {} : { device: standing.deviceSerial ?? '' }),
        },
      }),
    ]);
  }

  private async url(pack: StoredPack): Promise<PackUrl> {
    return { packId: pack.id, url: await this.store.signGet(packObject(pack).key, URL_SECONDS) };
  }

  /** Somebody else's grant does not exist. */
  private async valid(grantId: string, standing: Standing): Promise<Selectable<GrantsTable>> {
    const grant = await this.database.queries
      .selectFrom('grants')
      .innerJoin('versions', (join) =>
        join.onRef('versions.resource_id', '=', 'grants.resource_id').onRef('versions.version', '=', 'grants.version'),
      )
      .innerJoin('resources', 'resources.id', 'grants.resource_id')
      .innerJoin('folders', 'folders.id', 'resources.folder_id')
      .selectAll('grants')
      .select('folders.name as folder')
      .where('grants.id', '=', grantId)
      .where('grants.subject_id', '=', standing.userId)
      .where('grants.device_serial', 'is not distinct from', standing.deviceSerial ?? null)
      .where('grants.not_after', '>', new Date(this.clock.nowMs()))
      .where('versions.state', '=', 'live')
      .executeTakeFirst();
    if (!grant)
      throw new AdminError('grant.not-found', 'There is no such grant, or it has expired: ask for a new one.');
    await this.folders.assertMayOpen(grant.folder, standing);
    return grant;
  }
}

function assertPoint(point: Uint8Array): void {
  try {
    jwkFromPoint(point);
  } catch (cause) {
    throw new CryptoError('grant.foreign-recipient', 'The recipient key is not a point on P-256.', { cause });
  }
}

function isFound(row: WantedRow | undefined): row is WantedRow & Version {
  return typeof row?.version === 'number';
}
