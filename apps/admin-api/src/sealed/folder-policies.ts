import { defaultFolderPolicy, type FolderPolicy, parseRole, type Role } from '@azaion/identity';
import type { Clock } from '@azaion/kernel';
import { type Nullable, sql } from 'kysely';

import type { Actor, AuditLog } from '../audit/audit-log.js';
import type { Database, Queries } from '../persistence/database.js';
import type { FolderPoliciesTable } from '../persistence/schema.js';

/** Who may do what in which folder. A folder that nobody has set rules for has the default ones. */
export class FolderPolicies {
  constructor(
    private readonly database: Database,
    private readonly audit: AuditLog,
    private readonly clock: Clock,
  ) {}

  /** What holds for this folder right now, whether anything lies in it or not. */
  async of(folder: string, on: Queries = this.database.queries): Promise<FolderPolicy> {
    const row = await on.selectFrom('folder_policies').selectAll().where('folder', '=', folder).executeTakeFirst();
    return row === undefined ? defaultFolderPolicy(folder) : storedPolicy(row);
  }

  /** What holds for each of these folders right now. */
  async ofEach(folders: readonly string[]): Promise<ReadonlyMap<string, FolderPolicy>> {
    const rows = await this.database.queries
      .selectFrom('folder_policies')
      .selectAll()
      .where('folder', '=', sql<string>`any(${folders})`)
      .execute();
    const stored = new Map(rows.map((row) => [row.folder, storedPolicy(row)]));
    return new Map(folders.map((folder) => [folder, stored.get(folder) ?? defaultFolderPolicy(folder)]));
  }

  /** Replaces a folder's rules; they hold from the next request on. @param policy - Already within its bounds. */
  async replace(folder: string, policy: FolderPolicy, actor: Actor): Promise<void> {
    const values = {
      readers: [...policy.read],
      writers: [...policy.write],
      lease_seconds: policy.leaseSeconds,
      quota_bytes: policy.quotaBytes ?? null,
      require_attestation: policy.requireAttestation,
      people_may_read: policy.peopleMayRead,
      updated_at: new Date(this.clock.nowMs()),
    };
    await this.database.transaction(async (on) => {
      await on
        .insertInto('folder_policies')
        .values({ folder, ...values })
        .onConflict((conflict) => conflict.column('folder').doUpdateSet(values))
        .execute();
      await this.audit.record(on, {
        event: 'folder.policy-changed',
        actor,
        subject: folder,
        details: {
          read: policy.read.join(' '),
          write: policy.write.join(' '),
          leaseSeconds: policy.leaseSeconds,
          ...(policy.quotaBytes === undefined ? {} : { quotaBytes: policy.quotaBytes }),
          requireAttestation: policy.requireAttestation,
          peopleMayRead: policy.peopleMayRead,
        },
      });
    });
  }
}

type StoredRules = Omit<FolderPoliciesTable, 'folder' | 'updated_at'>;

/** Rules as a left join finds them: all `null` for a folder that has none of its own. */
export type JoinedRules = Readonly<Nullable<StoredRules>>;

/** What holds for a folder whose rules were read together with something else. */
export function joinedPolicy(folder: string, row: JoinedRules | undefined): FolderPolicy {
  return hasRules(row) ? storedPolicy(row) : defaultFolderPolicy(folder);
}

function hasRules(row: JoinedRules | undefined): row is StoredRules {
  return typeof row?.lease_seconds === 'number';
}

function storedPolicy(row: StoredRules): FolderPolicy {
  return {
    read: roles(row.readers),
    write: roles(row.writers),
    leaseSeconds: row.lease_seconds,
    quotaBytes: row.quota_bytes ?? undefined,
    requireAttestation: row.require_attestation,
    peopleMayRead: row.people_may_read,
  };
}

function roles(names: readonly string[]): readonly Role[] {
  return names.flatMap((name) => parseRole(name) ?? []);
}
