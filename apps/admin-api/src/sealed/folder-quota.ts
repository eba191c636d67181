import { type PackId, ResourceError } from '@azaion/split-resource';
import { sql } from 'kysely';

import { type Database, type Queries } from '../persistence/database.js';
import { type FolderPolicies } from './folder-policies.js';

/** Keeps folders within the bytes that their rules allow in the object store. What is condemned does not count: it is on its way out. */
export class FolderQuota {
  constructor(
    private readonly database: Database,
    private readonly policies: FolderPolicies,
  ) {}

  /** Early word to a publisher, before it sends a pack; uploads at the same moment may still both get it. @throws ResourceError `upload.quota-exceeded`. */
  async assertRoom(folderId: string, packBytes: number): Promise<void> {
    const on = this.database.queries;
    const quotaBytes = await this.quotaOf(on, folderId);
    if (quotaBytes === undefined) return;
    const { rows } = await sql<{ used: number }>`
      select coalesce(sum(size_bytes), 0)::bigint as used from packs
      where folder_id = ${folderId} and state in ('uploading', 'live')`.execute(on);
    assertWithin((rows[0]?.used ?? 0) + packBytes, quotaBytes);
  }

  /**
   * Holds for what is committed, one commit of a folder after the other. A commit that adds nothing is always within.
   *
   * @param packIds - All packs of the version, whose rows the transaction has locked.
   * @throws ResourceError `upload.quota-exceeded`.
   */
  async assertKept(on: Queries, folderId: string, packIds: readonly PackId[]): Promise<void> {
    const quotaBytes = await this.quotaOf(on, folderId);
    if (quotaBytes === undefined) return;
    await sql`select pg_advisory_xact_lock(hashtext(${`quota ${folderId}`}))`.execute(on);
    const { rows } = await sql<{ live: number; added: number }>`
      select coalesce(sum(size_bytes) filter (where state = 'live'), 0)::bigint as live,
        coalesce(sum(size_bytes) filter (where state <> 'live' and id = any(${[...packIds]}::text[])), 0)::bigint as added
      from packs where folder_id = ${folderId}`.execute(on);
    const { live = 0, added = 0 } = rows[0] ?? {};
    if (added > 0) assertWithin(live + added, quotaBytes);
  }

  private async quotaOf(on: Queries, folderId: string): Promise<number | undefined> {
    const { name } = await on.selectFrom('folders').select('name').where('id', '=', folderId).executeTakeFirstOrThrow();
    return (await this.policies.of(name, on)).quotaBytes;
  }
}

function assertWithin(usedBytes: number, quotaBytes: number): void {
  if (usedBytes <= quotaBytes) return;
  throw new ResourceError(
    'upload.quota-exceeded',
    'The folder has no room for this: withdraw versions that nobody needs, or ask an administrator for a larger quota.',
    { details: { quotaBytes } },
  );
}
