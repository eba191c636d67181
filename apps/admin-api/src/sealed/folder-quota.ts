import { type PackId, ResourceError } from '@azaion/split-resource';
import { sql } from 'kysely';

import type { Database, Queries } from '../persistence/database.js';
import type { FolderPolicies } from './folder-policies.js';

/**
 * Keeps folders within the bytes that their rules allow: packs of versions, and what older clients store, in one sum. Packs that are condemned
 * do not count, they are on their way out; older clients' files count until their bytes are gone.
 */
export class FolderQuota {
  constructor(
    private readonly database: Database,
    private readonly policies: FolderPolicies,
  ) {}

  /**
   * Early word to a publisher, before it sends a pack; uploads at the same moment may still both get it.
   *
   * @param folder - By name.
   * @throws ResourceError `upload.quota-exceeded`.
   */
  async assertRoom(folder: string, quotaBytes: number | undefined, packBytes: number): Promise<void> {
    if (quotaBytes === undefined) return;
    const on = this.database.queries;
    const usedBytes = (await bytesOfPacks(on, folder, ['uploading', 'live'])) + (await legacyBytes(on, folder));
    assertWithin(usedBytes + packBytes, quotaBytes);
  }

  /**
   * Holds for what is committed, one commit of a folder after the other. A commit that adds nothing is always within.
   *
   * @param packIds - All packs of the version, whose rows the transaction has locked.
   * @throws ResourceError `upload.quota-exceeded`.
   */
  async assertKept(on: Queries, folderId: string, packIds: readonly PackId[]): Promise<void> {
    const folder = await nameOf(on, folderId);
    const quotaBytes = await this.quotaOf(on, folder);
    if (quotaBytes === undefined) return;
    await lock(on, folder);
    const { rows } = await sql<{ live: number; added: number }>`
      select coalesce(sum(stored_bytes) filter (where state = 'live'), 0)::bigint as live,
        coalesce(sum(stored_bytes) filter (where state <> 'live' and id = any(${[...packIds]}::text[])), 0)::bigint as added
      from packs where folder_id = ${folderId}`.execute(on);
    const { live = 0, added = 0 } = rows[0] ?? {};
    if (added > 0) assertWithin(live + (await legacyBytes(on, folder)) + added, quotaBytes);
  }

  /**
   * Whether a folder has room for an older client's file. Until the caller's transaction ends, nobody else is told the same: what it writes down
   * by then counts for the next.
   *
   * @param folder - By name, as older clients have it: empty for the root, which has no rules and no quota.
   * @param fileBytes - The most that may come.
   * @throws ResourceError `upload.quota-exceeded`.
   */
  async assertRoomForFile(on: Queries, folder: string, fileBytes: number): Promise<void> {
    const quotaBytes = await this.quotaOf(on, folder);
    if (quotaBytes === undefined) return;
    await lock(on, folder);
    const usedBytes = (await bytesOfPacks(on, folder, ['live'])) + (await legacyBytes(on, folder));
    assertWithin(usedBytes + fileBytes, quotaBytes);
  }

  private async quotaOf(on: Queries, folder: string): Promise<number | undefined> {
    return (await this.policies.of(folder, on)).quotaBytes;
  }
}

async function nameOf(on: Queries, folderId: string): Promise<string> {
  return (await on.selectFrom('folders').select('name').where('id', '=', folderId).executeTakeFirstOrThrow()).name;
}

async function lock(on: Queries, folder: string): Promise<void> {
  await sql`select pg_advisory_xact_lock(hashtext(${`quota ${folder}`}))`.execute(on);
}

async function bytesOfPacks(on: Queries, folder: string, states: readonly string[]): Promise<number> {
  const { rows } = await sql<{ used: number }>`
    select coalesce(sum(stored_bytes), 0)::bigint as used from packs
    join folders on folders.id = packs.folder_id
    where folders.name = ${folder} and state = any(${[...states]}::text[])`.execute(on);
  return rows[0]?.used ?? 0;
}

/** What older clients have in a folder, with what is on its way in or out. */
async function legacyBytes(on: Queries, folder: string): Promise<number> {
  const { rows } = await sql<{ used: number }>`
    select coalesce(sum(counted_bytes), 0)::bigint as used from legacy_contents where counted_folder = ${folder}`.execute(
    on,
  );
  return rows[0]?.used ?? 0;
}

function assertWithin(usedBytes: number, quotaBytes: number): void {
  if (usedBytes <= quotaBytes) return;
  throw new ResourceError(
    'upload.quota-exceeded',
    'The folder has no room for this: withdraw versions that nobody needs, or ask an administrator for a larger quota. A file that was replaced or cleared counts for another hour.',
    { details: { quotaBytes } },
  );
}
