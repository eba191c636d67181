import { randomBytes, randomUUID } from 'node:crypto';

import { deriveDeviceDomainKey, KEY_BYTES, type KeyVault } from '@azaion/crypto';
import { type FolderPolicy, IdentityError, isAttestedFor, mayOpenAttested, mayRead, mayWrite } from '@azaion/identity';
import type { Clock } from '@azaion/kernel';
import { ResourceError } from '@azaion/split-resource';
import { type Selectable, sql } from 'kysely';

import type { AuditLog } from '../audit/audit-log.js';
import { AdminError } from '../errors.js';
import type { Database, Queries } from '../persistence/database.js';
import type { FoldersTable } from '../persistence/schema.js';
import { actorOf, type Standing } from './current-standing.js';
import type { FolderPolicies } from './folder-policies.js';

/** A folder's first one. */
const FIRST_DOMAIN = 0;
const MAX_DOMAINS = 65_536;

type Folder = Selectable<FoldersTable>;

/** A dedup domain with its opened secret. */
export interface DedupDomain {
  readonly number: number;
  /** `K`, 32 bytes. */
  readonly key: Uint8Array;
}

/** Folders, who may use them, and their dedup domains. A folder comes into being with its first upload. */
export class Folders {
  constructor(
    private readonly database: Database,
    private readonly vault: KeyVault,
    private readonly policies: FolderPolicies,
    private readonly audit: AuditLog,
    private readonly clock: Clock,
  ) {}

  /** Whether the caller may see what the folder holds. @throws IdentityError `folder.forbidden` | `folder.attestation-required`. */
  async assertMayRead(folder: string, standing: Standing): Promise<FolderPolicy> {
    const policy = await this.policies.of(folder);
    assertReads(policy, standing);
    return policy;
  }

  /** Whether the caller may open what the folder holds: stricter than seeing it. @throws as {@link assertMayRead}. */
  async assertMayOpen(folder: string, standing: Standing): Promise<FolderPolicy> {
    const policy = await this.policies.of(folder);
    assertOpens(policy, standing);
    return policy;
  }

  /** Those of the folders of which the caller may see what they hold. */
  async readable(folders: readonly string[], standing: Standing): Promise<ReadonlySet<string>> {
    const policies = await this.policies.ofEach(folders);
    return new Set(
      [...policies].filter(([, policy]) => permits(() => assertReads(policy, standing))).map(([name]) => name),
    );
  }

  /** @throws IdentityError `folder.forbidden` | `folder.attestation-required`, the latter to devices only. */
  async assertMayWrite(folder: string, standing: Standing, on?: Queries): Promise<FolderPolicy> {
    const policy = await this.policies.of(folder, on);
    if (!mayWrite(policy, standing.role))
      throw new IdentityError('folder.forbidden', 'Your role may not publish into this folder.');
    if (standing.deviceSerial !== undefined && !isAttestedFor(policy, readerOf(standing))) throw attestationRequired();
    return policy;
  }

  /** The folder of this name; `undefined` when nothing was ever uploaded into it. */
  find(name: string, on: Queries = this.database.queries): Promise<Folder | undefined> {
    return on.selectFrom('folders').selectAll().where('name', '=', name).executeTakeFirst();
  }

  /** The folder of this name, made with its main domain where it does not exist. */
  async ensure(on: Queries, name: string, standing: Standing): Promise<Folder> {
    const known = await this.find(name, on);
    if (known) return known;
    await sql`select pg_advisory_xact_lock(hashtext(${`folder ${name}`}))`.execute(on);
    const made = await this.find(name, on);
    if (made) return made;
    const id = randomUUID();
    const now = new Date(this.clock.nowMs());
    const folder = await on
      .insertInto('folders')
      .values({
        id,
        name,
        wrapped_device_root: await this.wrapFresh(deviceRootRow(id)),
        created_at: now,
      })
      .returningAll()
      .executeTakeFirstOrThrow();
    await on
      .insertInto('dedup_domains')
      .values({
        folder_id: id,
        number: FIRST_DOMAIN,
        wrapped_key: await this.wrapFresh(domainRow(id, FIRST_DOMAIN)),
        created_at: now,
      })
      .execute();
    await this.audit.record(on, { event: 'folder.created', actor: actorOf(standing), subject: name });
    return folder;
  }

  /** The domain this caller publishes in: the folder's main one, or a device's own. */
  async publishingDomain(on: Queries, folder: Folder, standing: Standing): Promise<DedupDomain> {
    if (standing.deviceSerial === undefined) return this.domain(on, folder.id, folder.main_domain);
    const device = await on
      .selectFrom('devices')
      .select('id')
      .where('serial', '=', standing.deviceSerial)
      .executeTakeFirst();
    if (!device) throw new AdminError('device.not-found', 'There is no such device.');
    const known = await this.deviceDomain(on, folder.id, device.id);
    if (known !== undefined) return this.domain(on, folder.id, known);
    await sql`select pg_advisory_xact_lock(hashtext(${`domains ${folder.id}`}))`.execute(on);
    const number = (await this.deviceDomain(on, folder.id, device.id)) ?? (await this.nextNumber(on, folder.id));
    await on
      .insertInto('dedup_domains')
      .values({
        folder_id: folder.id,
        number,
        device_id: device.id,
        created_at: new Date(this.clock.nowMs()),
      })
      .onConflict((conflict) => conflict.doNothing())
      .execute();
    return this.domain(on, folder.id, number);
  }

  /**
   * Starts a new main domain: what people publish from now on shares no key with what was published before. Old chunks stay readable by
   * their recipes; uploads that are open stay in the domain in which they were opened.
   *
   * @returns The number of the new domain.
   * @throws ResourceError `resource.not-found`; IdentityError `folder.forbidden` when the folder has no room for another domain.
   */
  async rotateDedupKey(name: string, standing: Standing): Promise<number> {
    return this.database.transaction(async (on) => {
      const folder = await this.find(name, on);
      if (!folder) throw new ResourceError('resource.not-found', 'There is no such folder.');
      await sql`select pg_advisory_xact_lock(hashtext(${`domains ${folder.id}`}))`.execute(on);
      const number = await this.nextNumber(on, folder.id);
      await on
        .insertInto('dedup_domains')
        .values({
          folder_id: folder.id,
          number,
          wrapped_key: await this.wrapFresh(domainRow(folder.id, number)),
          created_at: new Date(this.clock.nowMs()),
        })
        .execute();
      await on.updateTable('folders').set({ main_domain: number }).where('id', '=', folder.id).execute();
      await this.audit.record(on, {
        event: 'folder.dedup-key-rotated',
        actor: actorOf(standing),
        subject: name,
        details: { domain: number },
      });
      return number;
    });
  }

  /** A domain with its secret. */
  async domain(on: Queries, folderId: string, number: number): Promise<DedupDomain> {
    const row = await on
      .selectFrom('dedup_domains')
      .innerJoin('folders', 'folders.id', 'dedup_domains.folder_id')
      .select(['dedup_domains.wrapped_key', 'dedup_domains.device_id', 'folders.wrapped_device_root'])
      .where('folder_id', '=', folderId)
      .where('number', '=', number)
      .executeTakeFirstOrThrow();
    if (row.wrapped_key)
      return { number, key: await this.vault.unwrap('folder', domainRow(folderId, number), row.wrapped_key) };
    const root = await this.vault.unwrap('folder', deviceRootRow(folderId), row.wrapped_device_root);
    try {
      return { number, key: deriveDeviceDomainKey(root, row.device_id ?? '') };
    } finally {
      root.fill(0);
    }
  }

  private async deviceDomain(on: Queries, folderId: string, deviceId: string): Promise<number | undefined> {
    const row = await on
      .selectFrom('dedup_domains')
      .select('number')
      .where('folder_id', '=', folderId)
      .where('device_id', '=', deviceId)
      .executeTakeFirst();
    return row?.number;
  }

  private async nextNumber(on: Queries, folderId: string): Promise<number> {
    const { next } = await on
      .selectFrom('dedup_domains')
      .select((select) => sql<number>`${select.fn.max('number')} + 1`.as('next'))
      .where('folder_id', '=', folderId)
      .executeTakeFirstOrThrow();
    if (next >= MAX_DOMAINS)
      throw new IdentityError('folder.forbidden', 'This folder has no room for another dedup domain.');
    return next;
  }

  private async wrapFresh(rowId: string): Promise<Buffer> {
    return Buffer.from(await this.vault.wrap('folder', rowId, randomBytes(KEY_BYTES)));
  }
}

function assertReads(policy: FolderPolicy, standing: Standing): void {
  if (!mayRead(policy, standing.role))
    throw new IdentityError('folder.forbidden', 'Your role may not read this folder.');
  if (!isAttestedFor(policy, readerOf(standing))) throw attestationRequired();
}

/** As {@link Folders.assertMayOpen}, of rules that were read with something else. */
export function assertOpens(policy: FolderPolicy, standing: Standing): void {
  assertReads(policy, standing);
  if (!mayOpenAttested(policy, readerOf(standing))) throw attestationRequired();
}

/** As {@link assertOpens}, as an answer. */
export function opens(policy: FolderPolicy, standing: Standing): boolean {
  return permits(() => assertOpens(policy, standing));
}

function permits(assertion: () => void): boolean {
  try {
    assertion();
    return true;
  } catch (error) {
    if (error instanceof IdentityError) return false;
    throw error;
  }
}

function domainRow(folderId: string, number: number): string {
  return `${folderId}/${number}`;
}

function deviceRootRow(folderId: string): string {
  return `${folderId}/devices`;
}

function readerOf({ role, deviceSerial, attested }: Standing): {
  role: Standing['role'];
  isDevice: boolean;
  attested: boolean;
} {
  return { role, isDevice: deviceSerial !== undefined, attested };
}

function attestationRequired(): IdentityError {
  return new IdentityError(
    'folder.attestation-required',
    'This folder is for devices that have proved where their keys live: ask an administrator.',
  );
}
