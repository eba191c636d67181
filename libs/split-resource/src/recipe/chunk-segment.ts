import { CHUNK_OVERHEAD_BYTES, type ChunkSecrets } from '@azaion/crypto';

import { ResourceError } from '../errors.js';
import { MAX_PACK_BYTES } from '../pack.js';
import { CHUNK_RECORD_BYTES } from './limits.js';

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

  private constructor(
    /** The records as they stand in the opened segment. */
    readonly bytes: Uint8Array,
    /** Records in this segment. */
    readonly count: number,
  ) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
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
    let covered = 0;
    for (let index = 0; index < bounds.count; index++) {
      const plaintextBytes = segment.plaintextBytes(index);
      const sealedBytes = segment.sealedBytes(index);
      if (plaintextBytes < 1 || plaintextBytes > bounds.maxChunkBytes)
        throw invalidSegment('has a chunk of a length out of bounds');
      if (sealedBytes <= CHUNK_OVERHEAD_BYTES || sealedBytes > plaintextBytes + CHUNK_OVERHEAD_BYTES)
        throw invalidSegment('has a sealed chunk of a length out of bounds');
      if (segment.packIndex(index) >= bounds.packs) throw invalidSegment('names a pack that is not in its table');
      if (segment.offset(index) + sealedBytes > MAX_PACK_BYTES) throw invalidSegment('has a chunk outside of any pack');
      covered += plaintextBytes;
    }
    if (covered !== bounds.plaintextBytes) throw invalidSegment('does not add up to the length in the root');
    return segment;
  }

  /** SHA-256 of the plaintext, 32 bytes; a view. */
  h(index: number): Uint8Array {
    return this.field(index, 0, 32);
  }

  /** The chunk's key, 32 bytes; a view. */
  key(index: number): Uint8Array {
    return this.field(index, 32, 32);
  }

  domain(index: number): number {
    return this.view.getUint16(index * CHUNK_RECORD_BYTES + 64);
  }

  packIndex(index: number): number {
    return this.view.getUint32(index * CHUNK_RECORD_BYTES + 66);
  }

  offset(index: number): number {
    return this.view.getUint32(index * CHUNK_RECORD_BYTES + 70);
  }

  sealedBytes(index: number): number {
    return this.view.getUint32(index * CHUNK_RECORD_BYTES + 74);
  }

  plaintextBytes(index: number): number {
    return this.view.getUint32(index * CHUNK_RECORD_BYTES + 78);
  }

  /** What opening this chunk needs. */
  secrets(index: number): ChunkSecrets {
    return { h: this.h(index), key: this.key(index), plaintextBytes: this.plaintextBytes(index) };
  }

  private field(index: number, at: number, length: number): Uint8Array {
    const start = index * CHUNK_RECORD_BYTES + at;
    return this.bytes.subarray(start, start + length);
  }
}

/** Writes one record into a segment in the making. */
export function writeChunkRecord(segment: Buffer, index: number, record: ChunkRecord): void {
  const at = index * CHUNK_RECORD_BYTES;
  segment.set(record.h, at);
  segment.set(record.key, at + 32);
  segment.writeUInt16BE(record.domain, at + 64);
  segment.writeUInt32BE(record.packIndex, at + 66);
  segment.writeUInt32BE(record.offset, at + 70);
  segment.writeUInt32BE(record.sealedBytes, at + 74);
  segment.writeUInt32BE(record.plaintextBytes, at + 78);
}

function invalidSegment(problem: string): ResourceError {
  return new ResourceError('recipe.invalid', `A chunk segment of the recipe ${problem}.`);
}
