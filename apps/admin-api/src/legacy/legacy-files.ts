import { randomBytes, randomUUID } from 'node:crypto';

import { KEY_BYTES, type KeyVault, openSegment, sealSegment, type SegmentPlace } from '@azaion/crypto';
import { type Clock, releaseBytes } from '@azaion/kernel';
import { HttpProblem } from '@azaion/nest-support';
import { ResourceError } from '@azaion/split-resource';
import { sql } from 'kysely';

import type { Actor, AuditLog } from '../audit/audit-log.js';
import { AdminError } from '../errors.js';
import type { Database, Queries } from '../persistence/database.js';
import type { FolderQuota } from '../sealed/folder-quota.js';

/** Largest file that older clients may store. */
export const MAX_LEGACY_FILE_BYTES = 200 * 1024 * 1024;
const NAMES_AT_ONCE = 10_000;
const PIECE_BYTES = 1024 * 1024;
/** What a device's file counts at least: each is some rows, however few bytes it has. */
const LEAST_DEVICE_FILE_BYTES = 64 * 1024;
/** Owner of what everybody with the folder's permission reads. */
const EVERYBODY = '';
const HOUR_MS = 3_600_000;

/** What may be stored. */
export interface LegacyBounds {
  /** Of one file. */
  readonly fileBytes: number;
  /** Of all files of one device, over all folders, 64 KiB for each at least. */
  readonly deviceBytes: number;
}

/** A file on its way in. */
export interface LegacyUpload {
  /** Empty for the root. */
  readonly folder: string;
  readonly name: string;
  /** The account of a device, whose files nobody else reads: it cannot replace what others read. Everybody's unless given. */
  readonly owner?: string | undefined;
  /** Bytes that may come at most, as the request announces them; as many as a file may have unless given. They count until the file is here. */
  readonly announcedBytes?: number | undefined;
}

/** Where a file lies. */
interface Place {
  readonly folder: string;
  readonly name: string;
  readonly owner: string;
}

/** A stored file, ready to be read. */
export interface LegacyFile {
  readonly sizeBytes: number;
  /** Its bytes, piece by piece. Fails when the database holds something else than was stored. */
  readonly content: AsyncIterable<Buffer>;
}

/**
 * Files of the older protocol: small parts and settings. They lie in the database, so that replicas agree and a backup has them, in pieces that are
 * sealed under a key of their own: older clients store settings with secrets in them as they are.
 */
export class LegacyFiles {
  constructor(
    private readonly database: Database,
    private readonly vault: KeyVault,
    private readonly quota: FolderQuota,
    private readonly audit: AuditLog,
    private readonly clock: Clock,
    private readonly bounds: LegacyBounds,
  ) {}

  /**
   * Stores a file in place of the one that had its name, all at once when its last byte is here. Who reads the one before reads it to its end.
   * Between its pieces it holds no connection to the database, however slow they arrive. Its room is taken before its first byte is read.
   *
   * @param content - Untrusted bytes.
   * @returns The size.
   * @throws ResourceError `upload.quota-exceeded`; HttpProblem `request.too-large`; the stream's own error.
   */
  async write(
    { folder, name, owner = EVERYBODY, announcedBytes = Infinity }: LegacyUpload,
    content: AsyncIterable<Buffer>,
    actor: Actor,
  ): Promise<number> {
    const contentId = randomUUID();
    const key = randomBytes(KEY_BYTES);
    const { queries } = this.database;
    const file: Place = { folder, name, owner };
    const mostBytes = Math.min(announcedBytes, this.bounds.fileBytes);
    const wrappedKey = Buffer.from(await this.vault.wrap('service', contentId, key));
    await this.database.transaction(async (on) => {
      await this.assertRoom(on, file, mostBytes);
      await on
        .insertInto('legacy_contents')
        .values({
          id: contentId,
          counted_folder: folder,
          counted_owner: owner,
          wrapped_key: wrappedKey,
          counted_bytes: mostBytes,
          created_at: new Date(this.clock.nowMs()),
        })
        .execute();
    });
    try {
      let index = 0;
      let sizeBytes = 0;
      for await (const { bytes, last } of pieces(content, mostBytes)) {
        sizeBytes += bytes.length;
        const sealed = sealSegment(bytes, key, place(contentId, index, last));
        await this.database.transaction(async (on) => {
          // The commit that publishes the file waits for the disk, and with it for all that came before.
          await sql`set local synchronous_commit to off`.execute(on);
          await on.insertInto('legacy_pieces').values({ content_id: contentId, index, sealed }).execute();
        });
        releaseBytes(sealed);
        index += 1;
      }
      await this.publish(file, contentId, sizeBytes, actor);
      return sizeBytes;
    } catch (error) {
      await queries.deleteFrom('legacy_contents').where('id', '=', contentId).execute();
      throw error;
    } finally {
      key.fill(0);
    }
  }

  /** @param reader - The account of a device: its own file comes before everybody's. @throws AdminError `legacy-file.not-found`. */
  async open(folder: string, name: string, reader = EVERYBODY): Promise<LegacyFile> {
    const row = await this.database.queries
      .selectFrom('legacy_files')
      .innerJoin('legacy_contents', 'legacy_contents.id', 'legacy_files.content_id')
      .select(['legacy_contents.id', 'legacy_contents.wrapped_key', 'legacy_contents.size_bytes'])
      .where('folder', '=', folder)
      .where('name', '=', name)
      .where('owner', 'in', [EVERYBODY, reader])
      .orderBy('owner', 'desc')
      .limit(1)
      .executeTakeFirst();
    if (!row) throw new AdminError('legacy-file.not-found', 'There is no such file.');
    const sizeBytes = row.size_bytes ?? 0;
    return { sizeBytes, content: this.read(row.id, row.wrapped_key, sizeBytes) };
  }

  /**
   * All names in a folder, in their order, some at a time; none of a folder that does not exist.
   *
   * @param search - A part of the name, in any case.
   * @param reader - As in {@link open}.
   */
  async *names(folder: string, search: string | undefined, reader = EVERYBODY): AsyncGenerator<readonly string[]> {
    let matching = this.database.queries
      .selectFrom('legacy_files')
      .select('name')
      .distinct()
      .where('folder', '=', folder)
      .where('owner', 'in', [EVERYBODY, reader])
      .orderBy('name')
      .limit(NAMES_AT_ONCE);
    if (search !== undefined) matching = matching.where('name', 'ilike', `%${search.replace(/[\\%_]/g, '\\$&')}%`);
    for (let last: string | undefined; ;) {
      const rows = await (last === undefined ? matching : matching.where('name', '>', last)).execute();
      yield rows.map(({ name }) => name);
      if (rows.length < NAMES_AT_ONCE) return;
      last = rows.at(-1)?.name;
    }
  }

  /** Deletes the files of one folder, those of devices too. */
  async clear(folder: string, actor: Actor): Promise<void> {
    await this.database.transaction(async (on) => {
      const gone = await on.deleteFrom('legacy_files').where('folder', '=', folder).returning('content_id').execute();
      const ids = gone.map(({ content_id: id }) => id);
      if (ids.length > 0)
        await on
          .updateTable('legacy_contents')
          .set({ released_at: new Date(this.clock.nowMs()) })
          .where('id', 'in', ids)
          .execute();
      await this.audit.record(on, {
        event: 'legacy.folder-cleared',
        actor,
        subject: folder,
        details: { files: ids.length },
      });
    });
  }

  /** Forgets contents that no file has any more, an hour after that, and what arrived in part, after a day. */
  async sweep(): Promise<void> {
    const nowMs = this.clock.nowMs();
    await this.database.queries
      .deleteFrom('legacy_contents')
      .where((where) =>
        where.or([
          where('released_at', '<', new Date(nowMs - HOUR_MS)),
          where.and([where('size_bytes', 'is', null), where('created_at', '<', new Date(nowMs - 24 * HOUR_MS))]),
        ]),
      )
      .execute();
  }

  /** Of a folder's room first, then of a device's: requests that need both ask in one order. @throws ResourceError `upload.quota-exceeded`. */
  private async assertRoom(on: Queries, { folder, owner }: Place, fileBytes: number): Promise<void> {
    await this.quota.assertRoomForFile(on, folder, fileBytes);
    if (owner === EVERYBODY) return;
    await sql`select pg_advisory_xact_lock(hashtext(${`legacy owner ${owner}`}))`.execute(on);
    const { rows } = await sql<{ used: number }>`
      select coalesce(sum(greatest(counted_bytes, ${LEAST_DEVICE_FILE_BYTES})), 0)::bigint as used
      from legacy_contents where counted_owner = ${owner}`.execute(on);
    const { deviceBytes } = this.bounds;
    if ((rows[0]?.used ?? 0) + Math.max(fileBytes, LEAST_DEVICE_FILE_BYTES) > deviceBytes)
      throw new ResourceError(
        'upload.quota-exceeded',
        'This device has stored as much as one device may: ask an administrator. A file that was replaced or cleared counts for another hour.',
        { details: { quotaBytes: deviceBytes } },
      );
  }

  private async publish(
    { folder, name, owner }: Place,
    contentId: string,
    sizeBytes: number,
    actor: Actor,
  ): Promise<void> {
    const now = new Date(this.clock.nowMs());
    await this.database.transaction(async (on) => {
      await sql`select pg_advisory_xact_lock(hashtext(${`legacy file ${folder}/${name}/${owner}`}))`.execute(on);
      await on
        .updateTable('legacy_contents')
        .set({ released_at: now })
        .where('id', '=', (from) =>
          from
            .selectFrom('legacy_files')
            .select('content_id')
            .where('folder', '=', folder)
            .where('name', '=', name)
            .where('owner', '=', owner),
        )
        .execute();
      await on
        .updateTable('legacy_contents')
        .set({ size_bytes: sizeBytes, counted_bytes: sizeBytes })
        .where('id', '=', contentId)
        .execute();
      await on
        .insertInto('legacy_files')
        .values({ folder, name, owner, content_id: contentId, updated_at: now })
        .onConflict((conflict) =>
          conflict.columns(['folder', 'name', 'owner']).doUpdateSet({ content_id: contentId, updated_at: now }),
        )
        .execute();
      await this.audit.record(on, {
        event: 'legacy.file-stored',
        actor,
        subject: `${folder}/${name}`,
        details: { sizeBytes, ...(owner === EVERYBODY ? {} : { ownOf: owner }) },
      });
    });
  }

  private async *read(contentId: string, wrappedKey: Buffer, sizeBytes: number): AsyncGenerator<Buffer> {
    const key = await this.vault.unwrap('service', contentId, wrappedKey);
    try {
      const count = Math.max(1, Math.ceil(sizeBytes / PIECE_BYTES));
      for (let index = 0; index < count; index++) {
        const { sealed } = await this.database.queries
          .selectFrom('legacy_pieces')
          .select('sealed')
          .where('content_id', '=', contentId)
          .where('index', '=', index)
          .executeTakeFirstOrThrow();
        yield openSegment(sealed, key, place(contentId, index, index === count - 1));
      }
    } finally {
      key.fill(0);
    }
  }
}

/** Pieces of one size, but for the last; one empty piece of an empty stream. Each is there until the next one is asked for. */
async function* pieces(
  content: AsyncIterable<Buffer>,
  maxBytes: number,
): AsyncGenerator<{ readonly bytes: Buffer; readonly last: boolean }> {
  let waiting: Buffer[] = [];
  let waitingBytes = 0;
  let seenBytes = 0;
  for await (const chunk of content) {
    seenBytes += chunk.length;
    if (seenBytes > maxBytes)
      throw new HttpProblem(
        'request.too-large',
        `The file is larger than the ${maxBytes} bytes accepted here: publish it as a sealed resource.`,
      );
    waiting.push(chunk);
    waitingBytes += chunk.length;
    if (waitingBytes <= PIECE_BYTES) continue; // a full piece waits: it may be the last
    const together = Buffer.concat(waiting);
    let rest = together;
    for (; rest.length > PIECE_BYTES; rest = rest.subarray(PIECE_BYTES))
      yield { bytes: rest.subarray(0, PIECE_BYTES), last: false };
    [waiting, waitingBytes] = [[Buffer.from(rest)], rest.length];
    releaseBytes(together); // whoever was given a piece of it asks for the next one
  }
  yield { bytes: Buffer.concat(waiting), last: true };
}

/** A piece opens in its own place only: not in another file, not at another index, not as the end of a file that was cut off. */
function place(contentId: string, index: number, last: boolean): SegmentPlace {
  return {
    folderId: new Uint8Array(16),
    resourceId: Buffer.from(contentId.replaceAll('-', ''), 'hex'),
    version: 1,
    kind: 'chunks',
    index,
    last,
  };
}
