import { CHUNK_OVERHEAD_BYTES, type ChunkSecrets } from '@azaion/crypto';

import { ResourceError } from '../errors.js';
import { MAX_PACK_BYTES } from '../pack.js';
import { CHUNK_RECORD_BYTES } from './limits.js';

/** Where each field of a record begins. Source: docs/formats/sealed-resource.md, "Recipe". */
const HASH_AT = 0;
const KEY_AT = 32;
const DOMAIN_AT = 64;
const PACK_INDEX_AT = 66;
const OFFSET_AT = 70;
const SEALED_BYTES_AT = 74;
const PLAINTEXT_BYTES_AT = 78;

/** One chunk as a recipe records it. */
export interface ChunkRecord extends ChunkSecrets {
  /** Number of the dedup domain, 0 to 65535. */
  readonly domain: number;
  /** Index into the recipe's pack table. */
  readonly packIndex: number;
  /** First byte in the pack. */
  readonly offset: number;
  readonly sealedBytes: number;
}

/** What the root says that every record of a segment must agree with. */
export interface ChunkSegmentBounds {
  readonly count: number;
  /** Sum of the plaintext lengths. */
  readonly plaintextBytes: number;
  /** Packs in the pack table. */
  readonly packs: number;
  /** Longest chunk. */
  readonly maxChunkBytes: number;
}

/** Up to 4096 chunk records, read in place: there is no object per chunk. */
export class ChunkSegment {
  private readonly view: DataView;
  /** Where each chunk ends in the plaintext of the segment. */
  private readonly ends: Float64Array;

  private constructor(
    /** The records as they stand in the opened segment. */
    readonly bytes: Uint8Array,
    /** Records in this segment. */
    readonly count: number,
  ) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.ends = new Float64Array(count);
  }

  /**
   * Checks every record and makes the segment readable.
   *
   * @param bytes - An opened segment; kept, not copied.
   * @throws ResourceError `recipe.invalid`.
   */
  static parse(bytes: Uint8Array, bounds: ChunkSegmentBounds): ChunkSegment {
    if (bytes.length !== bounds.count * CHUNK_RECORD_BYTES) throw invalidSegment('has the wrong length');
    const segment = new ChunkSegment(bytes, bounds.count);
    const { view, ends } = segment;
    let covered = 0;
    // Straight from the view: the first byte of a resource waits for this, in code that hardly ever ran before.
    for (let index = 0, record = 0; index < bounds.count; index++, record += CHUNK_RECORD_BYTES) {
      const plaintextBytes = view.getUint32(record + PLAINTEXT_BYTES_AT);
      const sealedBytes = view.getUint32(record + SEALED_BYTES_AT);
      if (plaintextBytes < 1 || plaintextBytes > bounds.maxChunkBytes)
        throw invalidSegment('has a chunk of a length out of bounds');
      if (sealedBytes <= CHUNK_OVERHEAD_BYTES || sealedBytes > plaintextBytes + CHUNK_OVERHEAD_BYTES)
        throw invalidSegment('has a sealed chunk of a length out of bounds');
      if (view.getUint32(record + PACK_INDEX_AT) >= bounds.packs)
        throw invalidSegment('names a pack that is not in its table');
      if (view.getUint32(record + OFFSET_AT) + sealedBytes > MAX_PACK_BYTES)
        throw invalidSegment('has a chunk outside of any pack');
      covered += plaintextBytes;
      ends[index] = covered;
    }
    if (covered !== bounds.plaintextBytes) throw invalidSegment('does not add up to the length in the root');
    return segment;
  }

  /** SHA-256 of the plaintext, 32 bytes; a view. */
  h(index: number): Uint8Array {
    return this.field(index, HASH_AT);
  }

  /** The chunk's key, 32 bytes; a view. */
  key(index: number): Uint8Array {
    return this.field(index, KEY_AT);
  }

  domain(index: number): number {
    return this.view.getUint16(index * CHUNK_RECORD_BYTES + DOMAIN_AT);
  }

  packIndex(index: number): number {
    return this.view.getUint32(index * CHUNK_RECORD_BYTES + PACK_INDEX_AT);
  }

  offset(index: number): number {
    return this.view.getUint32(index * CHUNK_RECORD_BYTES + OFFSET_AT);
  }

  sealedBytes(index: number): number {
    return this.view.getUint32(index * CHUNK_RECORD_BYTES + SEALED_BYTES_AT);
  }

  plaintextBytes(index: number): number {
    return this.view.getUint32(index * CHUNK_RECORD_BYTES + PLAINTEXT_BYTES_AT);
  }

  /** Where a chunk begins in the plaintext of this segment. */
  plaintextStart(index: number): number {
    return index === 0 ? 0 : (this.ends[index - 1] ?? NaN);
  }

  /** The chunk that holds a byte of the plaintext. @param offset - From the segment's first byte, inside of it. */
  chunkAt(offset: number): number {
    let from = 0;
    let to = this.count - 1;
    while (from < to) {
      const middle = (from + to) >>> 1;
      if ((this.ends[middle] ?? NaN) > offset) to = middle;
      else from = middle + 1;
    }
    return from;
  }

  /** What opening this chunk needs. */
  secrets(index: number): ChunkSecrets {
    return { h: this.h(index), key: this.key(index), plaintextBytes: this.plaintextBytes(index) };
  }

  private field(index: number, at: number): Uint8Array {
    const start = index * CHUNK_RECORD_BYTES + at;
    return this.bytes.subarray(start, start + 32);
  }
}

/** Writes one record into a segment in the making. */
export function writeChunkRecord(segment: Buffer, index: number, record: ChunkRecord): void {
  const at = index * CHUNK_RECORD_BYTES;
  segment.set(record.h, at + HASH_AT);
  segment.set(record.key, at + KEY_AT);
  segment.writeUInt16BE(record.domain, at + DOMAIN_AT);
  segment.writeUInt32BE(record.packIndex, at + PACK_INDEX_AT);
  segment.writeUInt32BE(record.offset, at + OFFSET_AT);
  segment.writeUInt32BE(record.sealedBytes, at + SEALED_BYTES_AT);
  segment.writeUInt32BE(record.plaintextBytes, at + PLAINTEXT_BYTES_AT);
}

function invalidSegment(problem: string): ResourceError {
  return new ResourceError('recipe.invalid', `A chunk segment of the recipe ${problem}.`);
}
