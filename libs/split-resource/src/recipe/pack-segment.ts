import { toHex } from '@azaion/kernel';

import { ResourceError } from '../errors.js';
import { MAX_PACK_BYTES, type PackRef } from '../pack.js';
import { PACK_RECORD_BYTES } from './limits.js';

/** Up to 4096 pack records, read in place. */
export class PackSegment {
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
  static parse(bytes: Uint8Array, count: number): PackSegment {
    if (bytes.length !== count * PACK_RECORD_BYTES) throw invalidSegment('has the wrong length');
    const segment = new PackSegment(bytes, count);
    for (let index = 0; index < count; index++) {
      const sizeBytes = segment.sizeBytes(index);
      if (sizeBytes < 1 || sizeBytes > MAX_PACK_BYTES) throw invalidSegment('has a pack of a size out of bounds');
    }
    return segment;
  }

  /** Size of one pack. */
  sizeBytes(index: number): number {
    return this.view.getUint32(index * PACK_RECORD_BYTES + 16);
  }

  /** One record. */
  pack(index: number): PackRef {
    const start = index * PACK_RECORD_BYTES;
    return {
      packId: toHex(this.bytes.subarray(start, start + 16)),
      sizeBytes: this.sizeBytes(index),
      sha256: this.bytes.subarray(start + 20, start + PACK_RECORD_BYTES),
    };
  }
}

/** Writes one record into a segment in the making. */
export function writePackRecord(segment: Buffer, index: number, pack: PackRef): void {
  const at = index * PACK_RECORD_BYTES;
  segment.write(pack.packId, at, 16, 'hex');
  segment.writeUInt32BE(pack.sizeBytes, at + 16);
  segment.set(pack.sha256, at + 20);
}

function invalidSegment(problem: string): ResourceError {
  return new ResourceError('recipe.invalid', `A pack segment of the recipe ${problem}.`);
}
