import { hash, randomBytes } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';

import { type ChunkSecrets, CryptoError, type KeyVault, openChunk } from '@azaion/crypto';
import { type ByteRange, type Clock, releaseBytes, toHex } from '@azaion/kernel';
import {
  extentsOf,
  type ObjectStore,
  type PackExtents,
  type PackId,
  packObjectKey,
  rangeInObject,
  readPack,
  ResourceError,
} from '@azaion/split-resource';
import { type Selectable, sql } from 'kysely';

import type { Database, Queries } from '../persistence/database.js';
import type { PacksTable } from '../persistence/schema.js';
import { CONDEMNED_SECONDS, isPinned, SPARSE_PERCENT } from './collect-packs.js';
import { packObject } from './pack-objects.js';
import { type RecipeVersion, StoredRecipes } from './stored-recipes.js';

/** Packs that one round looks at: between two rounds the store and the replica belong to everybody else. */
const PACKS_PER_ROUND = 32;
/** When a pack is looked at again, whatever came of it. Until then no other replica takes it either. */
const EXAMINE_AGAIN_MS = 6 * 3600_000;
/** An object that was written is deleted after so long unless its pack has taken it. */
const WRITTEN_MS = 24 * 3600_000;
/** No pack takes an object that has not longer than this: clocks of replicas differ, by less. */
const CLOCKS_DIFFER_MS = 3600_000;
/** A smaller saving is not worth a new object: what is left lies in too many places, and the extents hold what is between them, too. */
const MOST_KEPT_PERCENT = 50;

/** What one round did. */
export interface Compacted {
  readonly compacted: number;
  /** Bytes that the object store has less, once the older objects are gone. */
  readonly freedBytes: number;
  /** Packs that stay as they are although little of them is needed: damaged, of a format of a later release, or changed meanwhile. */
  readonly left: number;
}

type Candidate = Pick<
  Selectable<PacksTable>,
  'id' | 'folder_id' | 'size_bytes' | 'stored_bytes' | 'object_id' | 'extents'
>;

/** A chunk that a live version needs. */
interface NeededChunk {
  readonly range: ByteRange;
  readonly secrets: ChunkSecrets;
}

/** What live versions need of a pack. */
interface Needs {
  /** Versions that were looked at. */
  readonly versions: readonly Pick<RecipeVersion, 'resource_id' | 'version'>[];
  /** By their first byte. */
  readonly chunks: ReadonlyMap<number, NeededChunk>;
  readonly bytes: number;
}

/** An object that was written for a pack. */
interface NewObject {
  readonly objectId: string;
  readonly extents: PackExtents;
  readonly keptBytes: number;
  readonly sha256: Buffer;
}

/** Somebody else has changed the pack meanwhile. */
class Overtaken extends Error {}

/**
 * Gives packs of which live versions need little a smaller object: what they need, one chunk after the other. The pack keeps its name, its
 * size and its offsets, which stand in signed recipes; which ranges of it are left (its extents) goes out with its URL. Every chunk is
 * opened before it is kept. The new object is written down before it is written, taken by its pack in one transaction that looks again
 * at everything under the lock of the pack's row, and the older one goes once no URL of it and no backup of two days needs it: whenever
 * a replica dies in between, the collection deletes what nobody took. Any number of replicas may do it. Source: docs/formats/sealed-resource.md, "Compaction".
 */
export class CompactPacks {
  private readonly recipes: StoredRecipes;

  constructor(
    private readonly database: Database,
    private readonly store: ObjectStore,
    vault: KeyVault,
    private readonly clock: Clock,
  ) {
    this.recipes = new StoredRecipes(vault);
  }

  /** One round. @param signal - Ends it after the pack in hand. @throws ResourceError `cdn.unavailable`, at its end when it was one pack only; AdminError `database.unavailable`. */
  async run(signal?: AbortSignal): Promise<Compacted> {
    let [compacted, freedBytes, left] = [0, 0, 0];
    let unread: ResourceError | undefined;
    for (const pack of await this.claim()) {
      if (signal?.aborted === true) break;
      try {
        const freed = await this.compact(pack);
        freedBytes += freed;
        if (freed > 0) compacted += 1;
      } catch (error) {
        // One pack that cannot be read keeps no other; with the second one the store is away.
        if (isUnavailable(error) && unread === undefined) unread = error;
        else if (isOfPack(error)) left += 1;
        else throw error;
      }
    }
    if (unread !== undefined) throw unread;
    return { compacted, freedBytes, left };
  }

  /** Live packs of which no single version needs much: what all together need, their recipes tell. */
  private async claim(): Promise<readonly Candidate[]> {
    const { rows } = await sql<Candidate>`
      with used as (
        select pack_id, coalesce(max(used_bytes), 0) as bytes
        from version_packs
        join versions on versions.resource_id = version_packs.resource_id and versions.version = version_packs.version
        where versions.state = 'live'
        group by pack_id
      ), chosen as (
        select packs.id from packs join used on used.pack_id = packs.id
        where packs.state = 'live' and used.bytes * 100 < stored_bytes::bigint * ${SPARSE_PERCENT}
          and (examine_after is null or examine_after <= ${this.after(0)}) and not ${isPinned(this.after(0))}
        order by packs.sparse desc, examine_after nulls first, packs.id limit ${PACKS_PER_ROUND} for update of packs skip locked
      )
      update packs set examine_after = ${this.after(EXAMINE_AGAIN_MS)} from chosen where packs.id = chosen.id
      returning packs.id, folder_id, size_bytes, stored_bytes, object_id, extents`.execute(this.database.queries);
    return rows;
  }

  /** @returns Bytes that were freed. */
  private async compact(pack: Candidate): Promise<number> {
    const needs = await this.needsOf(pack);
    const sparse = isSparse(needs.bytes, pack);
    await this.database.queries.updateTable('packs').set({ sparse }).where('id', '=', pack.id).execute();
    if (!sparse || needs.bytes === 0) return 0; // what nobody needs any more is the collection's
    const extents = extentsOf([...needs.chunks.values()].map(({ range }) => range));
    const { end: keptBytes } = rangeInObject(extents, { start: 0, end: pack.size_bytes });
    if (keptBytes * 100 > pack.stored_bytes * MOST_KEPT_PERCENT) return 0;
    const kept = await this.read(pack, extents, keptBytes);
    await assertGood(kept, extents, needs.chunks.values());
    const objectId = toHex(randomBytes(16));
    await this.database.queries
      .insertInto('stale_objects')
      .values({ object_id: objectId, folder_id: pack.folder_id, delete_after: this.after(WRITTEN_MS) })
      .execute();
    const sha256 = hash('sha256', kept, 'buffer');
    await this.store.write(packObjectKey(pack.folder_id, objectId), kept);
    await this.database.transaction((on) => this.take(on, pack, needs, { objectId, extents, keptBytes, sha256 }));
    return pack.stored_bytes - keptBytes;
  }

  /** What live versions need, by their recipes; less than all of it once that is not little any more. */
  private async needsOf(pack: Candidate): Promise<Needs> {
    const versions = await this.versionsOf(pack.id);
    const chunks = new Map<number, NeededChunk>();
    let bytes = 0;
    for (const version of versions) {
      await this.recipes.open(this.database.queries, version, async (recipe) => {
        for (let segmentIndex = 0; segmentIndex < recipe.root.chunkSegmentHashes.length; segmentIndex++) {
          const segment = await recipe.chunkSegment(segmentIndex);
          for (let index = 0; index < segment.count; index++) {
            const start = segment.offset(index);
            if (segment.packIndex(index) !== version.position || chunks.has(start)) continue;
            const { h, key, plaintextBytes } = segment.secrets(index);
            const secrets = { h: Uint8Array.from(h), key: Uint8Array.from(key), plaintextBytes }; // not the whole segment
            chunks.set(start, { range: { start, end: start + segment.sealedBytes(index) }, secrets });
            bytes += segment.sealedBytes(index);
          }
        }
      });
      if (!isSparse(bytes, pack)) break;
    }
    return { versions, chunks, bytes };
  }

  private async versionsOf(packId: PackId): Promise<readonly (RecipeVersion & { readonly position: number })[]> {
    return this.database.queries
      .selectFrom('version_packs')
      .innerJoin('versions', (join) =>
        join
          .onRef('versions.resource_id', '=', 'version_packs.resource_id')
          .onRef('versions.version', '=', 'version_packs.version'),
      )
      .innerJoin('resources', 'resources.id', 'versions.resource_id')
      .select(['versions.resource_id', 'versions.version', 'versions.root_hash', 'versions.wrapped_recipe_key'])
      .select(['resources.folder_id', 'version_packs.position'])
      .where('pack_id', '=', packId)
      .where('versions.state', '=', 'live')
      .execute();
  }

  private async read(pack: Candidate, extents: PackExtents, keptBytes: number): Promise<Buffer> {
    const kept = Buffer.allocUnsafeSlow(keptBytes);
    let at = 0;
    for (const extent of extents) at += (await readPack(this.store, packObject(pack), extent)).copy(kept, at);
    return kept;
  }

  /** From here on the pack is what the new object holds. @throws Overtaken when anybody has changed what was decided upon. */
  private async take(on: Queries, pack: Candidate, { versions, chunks }: Needs, object: NewObject): Promise<void> {
    const { rows: locked } = await sql`
      select from packs
      where id = ${pack.id} and state = 'live' and object_id is not distinct from ${pack.object_id} for update`.execute(
      on,
    );
    // Asked now that the row is locked: a commit may have named other chunks of it, an upload may have been offered some.
    const { rows: unchanged } = await sql`
      select from packs
      where id = ${pack.id} and not ${isPinned(this.after(0))} and not exists (
        select from version_packs
        join versions on versions.resource_id = version_packs.resource_id and versions.version = version_packs.version
        where version_packs.pack_id = packs.id and versions.state = 'live'
          and (versions.resource_id, versions.version) not in (
            select * from unnest(${versions.map((each) => each.resource_id)}::uuid[], ${versions.map((each) => each.version)}::int[])))`.execute(
      on,
    );
    const { numDeletedRows: taken } = await on
      .deleteFrom('stale_objects')
      .where('object_id', '=', object.objectId)
      .where('delete_after', '>', this.after(CLOCKS_DIFFER_MS))
      .executeTakeFirst();
    if (locked.length === 0 || unchanged.length === 0 || taken === 0n) throw new Overtaken('the pack has changed');
    // In the order in which the verifier locks them.
    await sql`
      with gone as (
        select pack_id, start_byte from pack_chunks
        where pack_id = ${pack.id} and start_byte <> all(${[...chunks.keys()]}::int[])
        order by start_byte for update
      )
      delete from pack_chunks using gone
      where pack_chunks.pack_id = gone.pack_id and pack_chunks.start_byte = gone.start_byte`.execute(on);
    await on
      .updateTable('packs')
      .set({
        object_id: object.objectId,
        extents: JSON.stringify(object.extents),
        compacted_bytes: object.keptBytes,
        compacted_sha256: object.sha256,
        sparse: false,
      })
      .where('id', '=', pack.id)
      .execute();
    await on
      .insertInto('stale_objects')
      .values({
        object_id: pack.object_id ?? pack.id,
        folder_id: pack.folder_id,
        delete_after: this.after(CONDEMNED_SECONDS * 1000),
      })
      .execute();
  }

  private after(ms: number): Date {
    return new Date(this.clock.nowMs() + ms);
  }
}

/** Opens every chunk that is kept: what is damaged stays where it is, for the verifier and for who restores the store. */
async function assertGood(kept: Buffer, extents: PackExtents, chunks: Iterable<NeededChunk>): Promise<void> {
  for (const { range, secrets } of chunks) {
    const { start, end } = rangeInObject(extents, range);
    releaseBytes(openChunk(kept.subarray(start, end), secrets));
    await setImmediate();
  }
}

function isSparse(neededBytes: number, pack: Candidate): boolean {
  return neededBytes * 100 < pack.stored_bytes * SPARSE_PERCENT;
}

function isUnavailable(error: unknown): error is ResourceError {
  return error instanceof ResourceError && error.code === 'cdn.unavailable';
}

/** Whether a failure says something of one pack only. */
function isOfPack(error: unknown): boolean {
  if (error instanceof ResourceError) return !isUnavailable(error);
  return error instanceof CryptoError || error instanceof Overtaken;
}
