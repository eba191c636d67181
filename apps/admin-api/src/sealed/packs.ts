import { randomBytes } from 'node:crypto';

import { type Clock, toHex } from '@azaion/kernel';
import {
  type KnownChunk,
  type NewPack,
  type ObjectStore,
  type PackId,
  packObjectKey,
  type PackTarget,
  parseChunkTable,
  ResourceError,
  signedPutOf,
} from '@azaion/split-resource';
import { type Selectable, sql } from 'kysely';

import type { Database, Queries } from '../persistence/database.js';
import type { PackChunksTable, PacksTable, UploadsTable } from '../persistence/schema.js';
import type { Standing } from './current-standing.js';
import type { DraftLimits } from './draft-limits.js';
import type { FolderQuota } from './folder-quota.js';
import { opens } from './folders.js';
import { packObject, type StoredPack } from './pack-objects.js';
import type { Uploads } from './uploads.js';

const MAX_PACKS_PER_UPLOAD = 262_144;
const PUT_SECONDS = 15 * 60;
const PACKS_ASKED_PER_CHUNK = 4;
const HEADS_AT_ONCE = 8;

/** The row of a pack that was announced, and its count: one statement, since each that changes something waits for the disk. */
const ANNOUNCED = {
  name: 'pack-announced',
  text: `
    with counted as (
      update uploads set pack_count = pack_count + 1 where id = $1 and pack_count < ${MAX_PACKS_PER_UPLOAD}
      returning id, folder_id, domain, owner_id
    )
    insert into packs (
      id, folder_id, domain, upload_id, owner_id, size_bytes, sha256, state, has_table, seen_written, created_at
    )
    select $2, folder_id, domain, id, owner_id, $3, $4, 'uploading', false, false, $5 from counted
    returning id`,
};

type KnownRow = PackChunksTable & WrittenPack & Pick<PacksTable, 'sha256' | 'size_bytes' | 'seen_written'>;

/** What is asked of the object store. */
type WrittenPack = StoredPack & Pick<Selectable<PacksTable>, 'stored_bytes'>;

/** Whose chunks an upload may reuse. */
export interface Reach {
  readonly upload: UploadsTable;
  /** Whether also what others published, once the verifier has passed it: only where the caller may read it anyway. */
  readonly others: boolean;
}

/** The packs of uploads: announced, written elsewhere, described by a table. */
export class Packs {
  constructor(
    private readonly database: Database,
    private readonly uploads: Uploads,
    private readonly quota: FolderQuota,
    private readonly limits: DraftLimits,
    private readonly store: ObjectStore,
    private readonly clock: Clock,
  ) {}

  /**
   * Announces a pack.
   *
   * @param pack - With its MD5 where the object store needs it; otherwise it is not looked at.
   * @throws ResourceError `upload.not-found` | `upload.conflict` | `upload.refused` | `upload.quota-exceeded` | `upload.too-many-drafts`.
   */
  async add(uploadId: string, pack: NewPack, standing: Standing): Promise<{ packId: PackId; target: PackTarget }> {
    const { upload, folder, policy } = await this.uploads.ownedInFolder(uploadId, standing);
    this.uploads.assertOpen(upload);
    const content = signedPutOf(pack, this.store);
    await this.quota.assertRoom(folder, policy.quotaBytes, pack.sizeBytes);
    await this.limits.assertRoomForPack(upload.owner_id, pack.sizeBytes);
    const packId = toHex(randomBytes(16));
    const announced = await this.database.prepared(ANNOUNCED, [
      uploadId,
      packId,
      pack.sizeBytes,
      Buffer.from(pack.sha256),
      new Date(this.clock.nowMs()),
    ]);
    if (announced.length === 0) throw refused('The upload has more packs than a recipe can name.');
    return { packId, target: await this.store.signPut(packObjectKey(upload.folder_id, packId), content, PUT_SECONDS) };
  }

  /**
   * Registers which chunks a pack holds. A repeat replaces the table.
   *
   * @param table - Untrusted bytes, already bounded.
   * @throws ResourceError `upload.not-found` | `upload.conflict` | `upload.refused` | `upload.too-many-drafts`.
   */
  async registerTable(uploadId: string, packId: PackId, table: Buffer, standing: Standing): Promise<void> {
    await this.database.transaction(async (on) => {
      const upload = await this.uploads.openOwned(on, uploadId, standing);
      const pack = await on
        .selectFrom('packs')
        .select(['size_bytes', 'state', 'has_table'])
        .where('id', '=', packId)
        .where('upload_id', '=', uploadId)
        .forUpdate()
        .executeTakeFirst();
      if (!pack) throw new ResourceError('upload.not-found', 'The upload has no such pack.');
      if (pack.state !== 'uploading')
        throw new ResourceError('upload.conflict', 'This pack is in use: it does not change.');
      const chunks = parseChunkTable(table, pack.size_bytes);
      await this.limits.assertRoomForTable(on, upload.owner_id, packId, chunks.length);
      if (pack.has_table) await on.deleteFrom('pack_chunks').where('pack_id', '=', packId).execute();
      // As arrays: what has a place of its own for each value takes several times as long to build and to parse.
      await sql`
        insert into pack_chunks (pack_id, start_byte, sealed_bytes, chunk_id)
        select ${packId}, * from unnest(
          ${chunks.map(({ offset }) => offset)}::integer[],
          ${chunks.map(({ sealedBytes }) => sealedBytes)}::integer[],
          ${chunks.map(({ id }) => Buffer.from(id))}::bytea[]
        )`.execute(on);
      await on
        .updateTable('packs')
        .set({ has_table: true, table_chunks: chunks.length })
        .where('id', '=', packId)
        .execute();
    });
  }

  /** An upload of this caller, in whatever state, and whose chunks it may reuse. @throws ResourceError `upload.not-found`. */
  async reach(uploadId: string, standing: Standing): Promise<Reach> {
    const { upload, policy } = await this.uploads.ownedInFolder(uploadId, standing);
    return { upload, others: opens(policy, standing) };
  }

  /**
   * Which of these chunks need not be sent: what the caller committed itself or wrote in interrupted uploads, and what the verifier has
   * passed of others in the same folder and domain, where the caller may read the folder. What turned out bad is offered to nobody, nor
   * what lies in sparse packs: sealed anew, it moves into the packs of the new version. Packs
   * that are named here stay until the upload expires.
   *
   * @param ids - 16 bytes each.
   * @throws ResourceError `upload.not-found` | `upload.conflict` | `cdn.unavailable`.
   */
  async known(uploadId: string, ids: readonly Uint8Array[], standing: Standing): Promise<readonly KnownChunk[]> {
    const { upload, others } = await this.reach(uploadId, standing);
    this.uploads.assertOpen(upload);
    const wanted = [...new Set(ids.map(toHex))].map((id) => Buffer.from(id, 'hex'));
    // Few rows each: an upload may register one id in as many packs as it likes, none of them written. The newest come first: they were
    // registered because the older ones were not there. The offset makes the planner begin with the chunk: in a young database, without
    // statistics, it would go through all packs of the folder for each. Not prepared: a plan for a small table would stay while it grows.
    const { rows } = await sql<KnownRow>`
      select found.*
      from unnest(${wanted}::bytea[]) as wanted (chunk_id)
      cross join lateral (
        select chunk_id, start_byte, sealed_bytes, id, folder_id, size_bytes, sha256, seen_written, stored_bytes, object_id, extents
        from (select * from pack_chunks where chunk_id = wanted.chunk_id offset 0) as pack_chunks
        join packs on packs.id = pack_chunks.pack_id
        where packs.folder_id = ${upload.folder_id}
          and packs.domain = ${upload.domain}
          and packs.has_table
          and packs.state <> 'deleted'
          and not packs.sparse
          and case when packs.owner_id = ${upload.owner_id} then pack_chunks.good is not false
            else ${others} and pack_chunks.good end
        order by (packs.state = 'live') desc, pack_chunks.good desc nulls last, packs.seen_written desc,
          packs.created_at desc
        limit ${PACKS_ASKED_PER_CHUNK}
      ) as found`.execute(this.database.queries);
    const present = await this.present(rows);
    const known = new Map<string, KnownChunk>();
    for (const row of rows) {
      const id = toHex(row.chunk_id);
      if (known.has(id) || !present.has(row.id)) continue;
      known.set(id, {
        id,
        packId: row.id,
        packSizeBytes: row.size_bytes,
        packSha256: row.sha256,
        offset: row.start_byte,
        sealedBytes: row.sealed_bytes,
      });
    }
    const named = new Set([...known.values()].map(({ packId }) => packId));
    const pinned = await this.pin(
      uploadId,
      new Map(rows.filter(({ id }) => named.has(id)).map((row) => [row.id, row.object_id])),
    );
    return [...known.values()].filter(({ packId }) => pinned.has(packId));
  }

  /** Keeps packs until the upload expires. @param packs - With the objects that were found. @returns Those that have not been deleted or compacted meanwhile. */
  private async pin(
    uploadId: string,
    packs: ReadonlyMap<PackId, PacksTable['object_id']>,
  ): Promise<ReadonlySet<PackId>> {
    if (packs.size === 0) return new Set();
    return this.database.transaction(async (on) => {
      const found = await on
        .selectFrom('packs')
        .select(['id', 'object_id'])
        .where('id', '=', anyOf(packs.keys()))
        .where('state', '<>', 'deleted')
        .orderBy('id')
        .forKeyShare() // against collection and compaction, which lock for update
        .execute();
      const rows = found.filter(({ id, object_id: objectId }) => objectId === packs.get(id));
      if (rows.length > 0)
        await on
          .insertInto('pack_pins')
          .values(rows.map(({ id }) => ({ pack_id: id, upload_id: uploadId })))
          .onConflict((conflict) => conflict.doNothing())
          .execute();
      return new Set(rows.map(({ id }) => id));
    });
  }

  /**
   * Which packs of a draft the object store has. Those it has not are not offered again until they are there. Those of a committed version
   * are not asked for, those that the upload may not name neither.
   *
   * @throws ResourceError `cdn.unavailable`.
   */
  async askFor(reach: Reach, ids: readonly PackId[]): Promise<ReadonlySet<PackId>> {
    const rows = await this.candidates(this.database.queries, reach, ids)
      .where('state', 'in', ['uploading', 'condemned'])
      .execute();
    const written = await this.written(rows);
    await this.noteSeen(written, true);
    const gone = rows.map(({ id }) => id).filter((id) => !written.has(id));
    await this.noteSeen(gone, false);
    return written;
  }

  /** Which of these packs are in the object store; what was seen once is not asked for again. */
  private async present(
    packs: readonly (WrittenPack & Pick<PacksTable, 'seen_written'>)[],
  ): Promise<ReadonlySet<PackId>> {
    const written = await this.written(packs.filter((pack) => !pack.seen_written));
    await this.noteSeen(written, true);
    return new Set([...written, ...packs.filter((pack) => pack.seen_written).map(({ id }) => id)]);
  }

  /** Which of these packs the object store has with the size that is known. */
  private async written(packs: readonly WrittenPack[]): Promise<ReadonlySet<PackId>> {
    const written = new Set<PackId>();
    const pending = [...new Map(packs.map((pack) => [pack.id, pack])).values()];
    const lane = async (): Promise<void> => {
      for (let pack = pending.pop(); pack; pack = pending.pop()) {
        const found = await this.store.head(packObject(pack).key);
        if (found?.sizeBytes === pack.stored_bytes) written.add(pack.id);
      }
    };
    await Promise.all(Array.from({ length: HEADS_AT_ONCE }, lane));
    return written;
  }

  private async noteSeen(packIds: Iterable<PackId>, seen: boolean): Promise<void> {
    const ids = [...packIds];
    if (ids.length === 0) return;
    // In the order in which everybody locks packs.
    await sql`
      with changed as (
        select id from packs where id = ${anyOf(ids)} and seen_written <> ${seen} order by id for update
      )
      update packs set seen_written = ${seen} from changed where packs.id = changed.id`.execute(this.database.queries);
  }

  /** Packs that a commit of this upload may name: its owner's, and those in which others may reuse chunks. Locked against changes. */
  async usable(
    on: Queries,
    reach: Reach,
    ids: readonly PackId[],
  ): Promise<ReadonlyMap<PackId, Selectable<PacksTable>>> {
    const rows = await this.candidates(on, reach, ids).orderBy('id').forUpdate().execute();
    return new Map(rows.map((row) => [row.id, row]));
  }

  private candidates(on: Queries, { upload, others }: Reach, ids: readonly PackId[]) {
    return on
      .selectFrom('packs')
      .selectAll()
      .where('id', '=', anyOf(ids))
      .where('folder_id', '=', upload.folder_id)
      .where('domain', '=', upload.domain)
      .where('has_table', '=', true)
      .where(
        sql<boolean>`(owner_id = ${upload.owner_id} or ${others} and (packs.state = 'deleted'
          or exists (select from pack_chunks where pack_chunks.pack_id = packs.id and pack_chunks.good)))`,
      );
  }
}

function anyOf(ids: Iterable<PackId>) {
  return sql<string>`any(${[...ids]}::text[])`;
}

function refused(message: string): ResourceError {
  return new ResourceError('upload.refused', message);
}
