import type { Clock } from '@azaion/kernel';
import { type ObjectStore, type PackId, packObjectKey } from '@azaion/split-resource';
import { type RawBuilder, sql } from 'kysely';

import type { Database, Queries } from '../persistence/database.js';
import { packObject } from './pack-objects.js';
import { UPLOAD_LIFE_SECONDS } from './uploads.js';

/** How long a pack is condemned before it is deleted: longer than any upload that might still name it. */
export const CONDEMNED_SECONDS = UPLOAD_LIFE_SECONDS + 24 * 3600;
const PACKS_AT_ONCE = 200;
/** So many deletions failed one after another: the store is away, and every further one would wait for it. */
const MOST_FAILURES = 8;
/** A pack of which live versions need less is sparse: offered to no further version, and compacted. */
export const SPARSE_PERCENT = 30;

/** What one round of the collection did. */
export interface Collected {
  readonly condemned: number;
  /** Packs that no commit can take back any more. */
  readonly deleted: number;
  /** Objects that were removed from the object store. */
  readonly purged: number;
}

/**
 * Collects packs that no live version needs and no open upload may name: `live` or `uploading` → `condemned`, and after
 * {@link CONDEMNED_SECONDS} → `deleted`. Every step decides under the locks of the rows it changes, so that a commit at the same moment
 * either comes first, and its packs stay, or finds them deleted and says so. The object goes after its row says `deleted`: what happens
 * in between, a crash too, leaves garbage for the next round and never a row that promises an object. Every replica may run it.
 */
export class CollectPacks {
  constructor(
    private readonly database: Database,
    private readonly store: ObjectStore,
    private readonly clock: Clock,
  ) {}

  /** One round. @throws ResourceError `cdn.unavailable` at its end when objects could not be deleted: they follow in a later one. */
  async run(): Promise<Collected> {
    await this.dropPins();
    await this.inBatches((on) => this.noteSparse(on));
    const condemned = await this.inBatches((on) => this.condemn(on));
    const deleted = await this.inBatches((on) => this.delete(on));
    return { condemned, deleted, purged: await this.purge() };
  }

  /** Pins of uploads that cannot be committed any more. */
  private async dropPins(): Promise<void> {
    await sql`
      delete from pack_pins using uploads
      where uploads.id = pack_pins.upload_id and (uploads.state <> 'open' or uploads.expires_at <= ${this.now()})`.execute(
      this.database.queries,
    );
  }

  /**
   * Which live packs hold little that a live version needs: known-chunks offers them no more. What versions need is added up here, so that what
   * several need counts more than once: whether a pack between the two bounds is sparse, its compaction finds out.
   */
  private async noteSparse(on: Queries): Promise<number> {
    const { numAffectedRows } = await sql`
      with used as (
        select pack_id, max(used_bytes) as least, coalesce(sum(used_bytes) filter (where used_bytes is not null), 0) as most,
          bool_and(used_bytes is not null) as counted
        from version_packs
        join versions on versions.resource_id = version_packs.resource_id and versions.version = version_packs.version
        where versions.state = 'live'
        group by pack_id
      ), changed as (
        select packs.id, not packs.sparse as sparse
        from packs join used on used.pack_id = packs.id
        where packs.state = 'live' and case when packs.sparse then least * 100 >= stored_bytes::bigint * ${SPARSE_PERCENT}
          else counted and most * 100 < stored_bytes::bigint * ${SPARSE_PERCENT} end
        order by packs.id limit ${PACKS_AT_ONCE} for update of packs skip locked
      )
      update packs set sparse = changed.sparse from changed where packs.id = changed.id`.execute(on);
    return Number(numAffectedRows ?? 0);
  }

  private async condemn(on: Queries): Promise<number> {
    const { rows } = await sql<{ id: PackId }>`
      select id from packs
      where (state = 'live'
          or state = 'uploading' and exists (select from uploads where uploads.id = packs.upload_id and expires_at <= ${this.now()}))
        and ${this.unneeded()}
      order by id limit ${PACKS_AT_ONCE} for update skip locked`.execute(on);
    // Asked again now that the rows are locked: a commit may have ended in between.
    const { numAffectedRows } = await sql`
      update packs set state = 'condemned', condemned_at = ${this.now()}
      where id = any(${rows.map(({ id }) => id)}::text[]) and ${this.unneeded()}`.execute(on);
    return Number(numAffectedRows ?? 0);
  }

  private async delete(on: Queries): Promise<number> {
    const before = new Date(this.clock.nowMs() - CONDEMNED_SECONDS * 1000);
    const { rows } = await sql<{ id: PackId }>`
      select id from packs where state = 'condemned' and condemned_at <= ${before} and ${this.unneeded()}
      order by id limit ${PACKS_AT_ONCE} for update skip locked`.execute(on);
    const { rows: deleted } = await sql<{ id: PackId }>`
      update packs set state = 'deleted'
      where id = any(${rows.map(({ id }) => id)}::text[]) and ${this.unneeded()} returning id`.execute(on);
    await sql`delete from pack_chunks where pack_id = any(${deleted.map(({ id }) => id)}::text[])`.execute(on);
    return deleted.length;
  }

  /** One object that cannot be deleted keeps no other. */
  private async purge(): Promise<number> {
    let purged = 0;
    const failures: unknown[] = [];
    let failedInARow = 0;
    for await (const { key, gone } of this.garbage()) {
      try {
        await this.store.delete(key);
      } catch (error) {
        failures.push(error);
        failedInARow += 1;
        if (failedInARow === MOST_FAILURES) throw error;
        continue;
      }
      failedInARow = 0;
      purged += 1;
      await gone();
    }
    if (failures.length > 0) throw failures[0];
    return purged;
  }

  /** Objects of deleted packs, and those that compaction has left behind. */
  private async *garbage(): AsyncGenerator<{ readonly key: string; readonly gone: () => Promise<unknown> }> {
    const { queries } = this.database;
    const packs = queries
      .selectFrom('packs')
      .select(['id', 'folder_id', 'object_id', 'extents'])
      .where('state', '=', 'deleted')
      .where('purged_at', 'is', null)
      .orderBy('id')
      .limit(PACKS_AT_ONCE);
    for await (const pack of paged((after) => packs.where('id', '>', after).execute()))
      yield {
        key: packObject(pack).key,
        gone: () => queries.updateTable('packs').set({ purged_at: this.now() }).where('id', '=', pack.id).execute(),
      };
    const stale = queries
      .selectFrom('stale_objects')
      .select(['object_id as id', 'folder_id'])
      .where('delete_after', '<=', this.now())
      .orderBy('object_id')
      .limit(PACKS_AT_ONCE);
    for await (const { id, folder_id: folderId } of paged((after) => stale.where('object_id', '>', after).execute()))
      yield {
        key: packObjectKey(folderId, id),
        gone: () => queries.deleteFrom('stale_objects').where('object_id', '=', id).execute(),
      };
  }

  /** No live version needs the pack, and no upload that can still be committed was offered it. */
  private unneeded() {
    return sql<boolean>`
      not exists (
        select from version_packs
        join versions on versions.resource_id = version_packs.resource_id and versions.version = version_packs.version
        where version_packs.pack_id = packs.id and versions.state = 'live')
      and not ${isPinned(this.now())}`;
  }

  /** Short transactions: a commit waits for none of them long. */
  private async inBatches(step: (on: Queries) => Promise<number>): Promise<number> {
    let total = 0;
    for (;;) {
      const count = await this.database.transaction(step);
      total += count;
      if (count < PACKS_AT_ONCE) return total;
    }
  }

  private now(): Date {
    return new Date(this.clock.nowMs());
  }
}

/** Whether an upload that can still be committed was offered chunks of the pack. */
export function isPinned(now: Date): RawBuilder<boolean> {
  return sql<boolean>`
    exists (
      select from pack_pins join uploads on uploads.id = pack_pins.upload_id
      where pack_pins.pack_id = packs.id and uploads.state = 'open' and uploads.expires_at > ${now})`;
}

/** @param page - At most {@link PACKS_AT_ONCE} rows after this one, in the order of their ids. */
async function* paged<Row extends { readonly id: string }>(
  page: (after: string) => Promise<Row[]>,
): AsyncGenerator<Row> {
  let rows: Row[] = [];
  do {
    rows = await page(rows.at(-1)?.id ?? '');
    yield* rows;
  } while (rows.length === PACKS_AT_ONCE);
}
