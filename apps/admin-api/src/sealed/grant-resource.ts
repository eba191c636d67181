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
import { type Clock, equalBytes, type ResourceName } from '@azaion/kernel';
import {
  type GrantAnswer,
  MAX_PACK_URLS,
  type ObjectStore,
  type PackId,
  packObjectKey,
  type PackUrl,
  ResourceError,
} from '@azaion/split-resource';
import { type Selectable } from 'kysely';

import { type AuditLog } from '../audit/audit-log.js';
import { AdminError } from '../errors.js';
import { type StatementAuthority } from '../keys/statement-authority.js';
import { type TrustedStatements } from '../keys/trusted-statements.js';
import { type Database } from '../persistence/database.js';
import { type GrantsTable, type VersionsTable } from '../persistence/schema.js';
import { recipeRow } from './commit-upload.js';
import { actorOf, type Standing } from './current-standing.js';
import { type Folders } from './folders.js';

const PERSON_GRANT_SECONDS = 15 * 60;
const URL_SECONDS = 15 * 60;

type Version = Selectable<VersionsTable>;

interface Found {
  readonly version: Version;
  /** The newest that the caller may use. */
  readonly latest: number;
  /** The oldest of all that have not been withdrawn, whoever may use it: it never falls, so no grant contradicts an earlier one. */
  readonly lowest: number;
  /** Whether an administrator has pinned the resource to this version. */
  readonly pinned: boolean;
}

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
    const policy = await this.folders.assertMayOpen(request.resource.folder, standing);
    const leaseSeconds = request.leaseSeconds ?? policy.leaseSeconds;
    await this.assertRecipient(request.recipientPoint, standing);
    const { version, latest, lowest, pinned } = await this.find(request, standing);
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
        latestVersion: latest,
        minVersion: lowest,
        nonce: request.nonce,
        lease,
        ...(pinned ? { pinned } : {}),
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
    const urls = await this.firstUrls(version);
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
      .select(['packs.id', 'packs.folder_id'])
      .distinct()
      .where('resource_id', '=', grant.resource_id)
      .where('version', '=', grant.version)
      .where('pack_id', 'in', [...packIds])
      .execute();
    if (rows.length !== new Set(packIds).size)
      throw new ResourceError('resource.not-found', 'The version has no such pack.');
    return Promise.all(rows.map((row) => this.url(row.folder_id, row.id)));
  }

  /** A device's grants are for its enrolled key, and nobody else's are. */
  private async assertRecipient(point: Uint8Array, standing: Standing): Promise<void> {
    try {
      jwkFromPoint(point);
    } catch (cause) {
      throw new CryptoError('grant.foreign-recipient', 'The recipient key is not a point on P-256.', { cause });
    }
    const owner = await this.database.queries
      .selectFrom('devices')
      .select(['serial', 'agreement_key'])
      .where('agreement_key', '=', Buffer.from(point))
      .executeTakeFirst();
    const own = owner?.agreement_key && equalBytes(owner.agreement_key, point) ? owner.serial : undefined;
    if (own !== standing.deviceSerial)
      throw new AdminError(
        'device.key-required',
        standing.deviceSerial === undefined
          ? 'The recipient key is an enrolled device’s: grants to it are for that device alone.'
          : 'A device gets grants for its enrolled key only.',
      );
  }

  private async find({ resource, version: wanted }: GrantRequest, standing: Standing): Promise<Found> {
    const rows = this.database.queries
      .selectFrom('versions')
      .innerJoin('resources', 'resources.id', 'versions.resource_id')
      .innerJoin('folders', 'folders.id', 'resources.folder_id')
      .selectAll('versions')
      .select('resources.pinned_version')
      .select((of) =>
        of
          .selectFrom('versions as kept')
          .select((kept) => kept.fn.min('kept.version').as('version'))
          .whereRef('kept.resource_id', '=', 'resources.id')
          .where('kept.state', '=', 'live')
          .as('lowest_version'),
      )
      .where('folders.name', '=', resource.folder)
      .where('resources.name', '=', resource.name)
      .where('versions.state', '=', 'live');
    // The newest of the fleet's and the device's own; what other devices published does not exist for it.
    const own = rows.where('versions.scope', 'in', ['fleet', `device:${standing.deviceSerial ?? ''}`]);
    const latest = await own.orderBy('versions.version', 'desc').limit(1).executeTakeFirst();
    const number = wanted ?? latest?.pinned_version ?? latest?.version;
    // An administrator may look at what a device published, when it names the version.
    const visible = standing.role === 'ApiAdmin' && wanted !== undefined ? rows : own;
    const version =
      number === latest?.version ? latest : await visible.where('version', '=', number ?? 0).executeTakeFirst();
    if (!version) throw new ResourceError('resource.not-found', 'There is no such resource or version.');
    return {
      version,
      latest: latest?.version ?? version.version,
      lowest: version.lowest_version ?? version.version,
      pinned: version.pinned_version === version.version,
    };
  }

  private async record(
    grantId: string,
    { resource, recipientPoint }: GrantRequest,
    version: Version,
    { standing, actor }: { readonly standing: Standing; readonly actor: Standing },
    issuedAtSeconds: number,
    notAfterSeconds: number,
  ): Promise<void> {
    await this.database.transaction(async (on) => {
      await on
        .insertInto('grants')
        .values({
          id: grantId,
          resource_id: version.resource_id,
          version: version.version,
          subject_id: standing.userId,
          device_serial: standing.deviceSerial ?? null,
          recipient: recipientThumbprint(recipientPoint),
          issued_at: new Date(issuedAtSeconds * 1000),
          not_after: new Date(notAfterSeconds * 1000),
        })
        .execute();
      await this.audit.record(on, {
        event: 'grant.issued',
        actor: actorOf(actor),
        subject: `${resource.folder}/${resource.name}`,
        details: {
          grantId,
          version: version.version,
          notAfter: notAfterSeconds,
          ...(actor === standing ? {} : { device: standing.deviceSerial ?? '' }),
        },
      });
    });
  }

  private async firstUrls(version: Version): Promise<readonly PackUrl[]> {
    const rows = await this.database.queries
      .selectFrom('version_packs')
      .innerJoin('packs', 'packs.id', 'version_packs.pack_id')
      .select(['packs.id', 'packs.folder_id'])
      .where('resource_id', '=', version.resource_id)
      .where('version', '=', version.version)
      .orderBy('position')
      .limit(MAX_PACK_URLS)
      .execute();
    return Promise.all(rows.map((row) => this.url(row.folder_id, row.id)));
  }

  private async url(folderId: string, packId: PackId): Promise<PackUrl> {
    return { packId, url: await this.store.signGet(packObjectKey(folderId, packId), URL_SECONDS) };
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
