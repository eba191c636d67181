import type { SegmentKind } from '@azaion/crypto';
import type { Clock } from '@azaion/kernel';
import { ResourceError } from '@azaion/split-resource';
import { sql } from 'kysely';

import type { Database, Queries } from '../persistence/database.js';

/**
 * Sealed bytes of drafts for each byte of recipe segments. Recipes name reused content too: chunks of average length (82 bytes for each
 * 128 KiB) may come to twelve times the bytes that new packs may have, those of the least length to three times.
 */
const PACK_BYTES_PER_SEGMENT_BYTE = 128;
/** Sealed bytes of drafts for each row of chunk tables: a chunk of the least length, compressed to half. */
const PACK_BYTES_PER_CHUNK = 16 * 1024;
/** What a pack counts at least: each is a row, however few bytes it announces. */
const LEAST_PACK_BYTES = 64 * 1024;

/** What one publisher may have unfinished at a time, over all of its uploads. */
export interface DraftBounds {
  /** Open uploads. */
  readonly uploads: number;
  /** Bytes of packs that no commit has named, 64 KiB for each at least; segments and chunk tables are bounded in proportion. */
  readonly bytes: number;
}

/**
 * Keeps what publishers leave unfinished within bounds: neither the database nor the object store can be filled with uploads that are never
 * committed. Expired and abandoned uploads count no more, their packs until they are collected. Requests at the same moment may pass together.
 */
export class DraftLimits {
  constructor(
    private readonly database: Database,
    private readonly clock: Clock,
    private readonly bounds: DraftBounds,
  ) {}

  /** @throws ResourceError `upload.too-many-drafts`. */
  async assertMayOpen(on: Queries, ownerId: string): Promise<void> {
    const { rows } = await sql<{ open: number }>`
      select count(*) as open from uploads
      where owner_id = ${ownerId} and state = 'open' and expires_at > ${this.now()}`.execute(on);
    if ((rows[0]?.open ?? 0) >= this.bounds.uploads) throw tooMany('uploads', this.bounds.uploads);
  }

  /** @throws ResourceError `upload.too-many-drafts`. */
  async assertRoomForPack(ownerId: string, packBytes: number): Promise<void> {
    const { rows } = await sql<{ bytes: number }>`
      select coalesce(sum(greatest(size_bytes, ${LEAST_PACK_BYTES})), 0)::bigint as bytes from packs
      where owner_id = ${ownerId} and state = 'uploading'`.execute(this.database.queries);
    if ((rows[0]?.bytes ?? 0) + Math.max(packBytes, LEAST_PACK_BYTES) > this.bounds.bytes)
      throw tooMany('packBytes', this.bounds.bytes);
  }

  /** @param packId - Whose table it is; one that it has already is replaced. @throws ResourceError `upload.too-many-drafts`. */
  async assertRoomForTable(on: Queries, ownerId: string, packId: string, chunks: number): Promise<void> {
    const { rows } = await sql<{ chunks: number }>`
      select coalesce(sum(table_chunks), 0)::bigint as chunks from packs
      where owner_id = ${ownerId} and state = 'uploading' and id <> ${packId}`.execute(on);
    const allowed = Math.ceil(this.bounds.bytes / PACK_BYTES_PER_CHUNK);
    if ((rows[0]?.chunks ?? 0) + chunks > allowed) throw tooMany('chunks', allowed);
  }

  /** @param segment - Which one it is; what is kept of it already is replaced. @throws ResourceError `upload.too-many-drafts`. */
  async assertRoomForSegment(
    ownerId: string,
    segment: { readonly uploadId: string; readonly kind: SegmentKind; readonly index: number },
    segmentBytes: number,
  ): Promise<void> {
    const { uploadId, kind, index } = segment;
    const { rows } = await sql<{ bytes: number }>`
      select coalesce(sum(octet_length(sealed)), 0)::bigint as bytes
      from uploads join upload_segments on upload_segments.upload_id = uploads.id
      where owner_id = ${ownerId} and state = 'open' and expires_at > ${this.now()}
        and (upload_id, kind, index) is distinct from (${uploadId}::uuid, ${kind}::text, ${index}::integer)`.execute(
      this.database.queries,
    );
    const allowed = Math.ceil(this.bounds.bytes / PACK_BYTES_PER_SEGMENT_BYTE);
    if ((rows[0]?.bytes ?? 0) + segmentBytes > allowed) throw tooMany('segmentBytes', allowed);
  }

  private now(): Date {
    return new Date(this.clock.nowMs());
  }
}

function tooMany(what: string, allowed: number): ResourceError {
  return new ResourceError(
    'upload.too-many-drafts',
    'This publisher has too much that is not finished: finish other uploads or give them up; what is left alone expires within a day.',
    { details: { exceeded: what, allowed } },
  );
}
