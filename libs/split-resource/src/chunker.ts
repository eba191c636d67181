import { hash } from 'node:crypto';

import { concatBytes, utf8 } from '@azaion/kernel';

/** How a resource is cut. It stands in the recipe; a reader never needs the chunker. */
export interface ChunkingParameters {
  readonly algorithm: 'fastcdc-nc2-gear32';
  readonly minBytes: number;
  readonly averageBytes: number;
  readonly maxBytes: number;
}

/** The only parameters of format version 2. */
export const CHUNKING: ChunkingParameters = {
  algorithm: 'fastcdc-nc2-gear32',
  minBytes: 32 * 1024,
  averageBytes: 128 * 1024,
  maxBytes: 512 * 1024,
};

const WORD_BITS = 32;
/** A byte leaves the hash after as many shifts as the word has bits: a border depends on this many bytes and on nothing before them. */
const WINDOW_BYTES = WORD_BITS;
const NORMALIZATION_LEVEL = 2;

/**
 * Cuts a stream into chunks by content: FastCDC (Xia et al., 2020) with normalized chunking level 2 and a 32-bit gear hash.
 * Equal content is cut equally wherever it stands, so that a small change makes a few new chunks. One instance cuts one stream.
 * Borders are part of what makes versions share chunks: table, masks and cut position are frozen by a vector.
 */
export class Chunker {
  private readonly strictMask: number;
  private readonly looseMask: number;
  private readonly pending: Buffer;
  private pendingBytes = 0;
  private gearHash = 0;

  /** @throws RangeError for sizes that are not `32 <= min <= average <= max`. */
  constructor(private readonly parameters: ChunkingParameters = CHUNKING) {
    const { minBytes, averageBytes, maxBytes } = parameters;
    if (minBytes < WINDOW_BYTES || averageBytes < minBytes || maxBytes < averageBytes)
      throw new RangeError('chunk sizes out of order');
    const averageBits = Math.round(Math.log2(averageBytes));
    this.strictMask = topBits(averageBits + NORMALIZATION_LEVEL);
    this.looseMask = topBits(averageBits - NORMALIZATION_LEVEL);
    this.pending = Buffer.allocUnsafeSlow(maxBytes);
  }

  /**
   * Takes the next bytes of the stream.
   *
   * @returns The chunks that are complete now, each a buffer of its own; `bytes` may be reused afterwards.
   */
  push(bytes: Uint8Array): Buffer[] {
    const chunks: Buffer[] = [];
    let from = 0;
    while (from < bytes.length) {
      const taken = this.scan(bytes, from);
      const end = from + Math.abs(taken);
      if (taken > 0) {
        chunks.push(this.complete(bytes.subarray(from, end)));
      } else {
        this.pending.set(bytes.subarray(from, end), this.pendingBytes);
        this.pendingBytes += end - from;
      }
      from = end;
    }
    return chunks;
  }

  /** Ends the stream. @returns The last chunk, at least one byte, or `undefined` when nothing is left. */
  finish(): Buffer | undefined {
    return this.pendingBytes === 0 ? undefined : this.complete(new Uint8Array(0));
  }

  private complete(tail: Uint8Array): Buffer {
    const chunk = Buffer.allocUnsafeSlow(this.pendingBytes + tail.length);
    this.pending.copy(chunk, 0, 0, this.pendingBytes);
    chunk.set(tail, this.pendingBytes);
    this.pendingBytes = 0;
    this.gearHash = 0;
    return chunk;
  }

  /** @returns How many bytes from `from` on belong to the current chunk; negative when it goes on after them. */
  private scan(bytes: Uint8Array, from: number): number {
    const { minBytes, averageBytes, maxBytes } = this.parameters;
    // Positions are counted in the chunk; `base` turns them into positions of this buffer.
    const base = from - this.pendingBytes;
    const limit = Math.min(bytes.length - base, maxBytes);
    const start = Math.max(this.pendingBytes, minBytes - WINDOW_BYTES);
    // A border lies after the byte that was tested: the first one that may be tested ends a chunk of the least size.
    const warmEnd = Math.max(start, Math.min(limit, minBytes - 1));
    const strictEnd = Math.max(warmEnd, Math.min(limit, averageBytes - 1));
    this.warm(bytes, base + start, base + warmEnd);
    const border =
      this.findBorder(bytes, base + warmEnd, base + strictEnd, this.strictMask) ??
      this.findBorder(bytes, base + strictEnd, base + limit, this.looseMask);
    if (border !== undefined) return border - from;
    return limit === maxBytes ? maxBytes - this.pendingBytes : -(bytes.length - from);
  }

  private warm(bytes: Uint8Array, from: number, to: number): void {
    for (let at = from; at < to; at++)
      this.gearHash = ((this.gearHash << 1) + (GEAR[bytes[at] as number] as number)) | 0;
  }

  private findBorder(bytes: Uint8Array, from: number, to: number, mask: number): number | undefined {
    const gear = GEAR;
    let gearHash = this.gearHash;
    for (let at = from; at < to; at++) {
      gearHash = ((gearHash << 1) + (gear[bytes[at] as number] as number)) | 0;
      if ((gearHash & mask) === 0) return at + 1;
    }
    this.gearHash = gearHash;
    return undefined;
  }
}

/** The low bits of a gear hash see only the last few bytes; the top ones see the whole window. */
function topBits(count: number): number {
  return -(2 ** (WORD_BITS - count)) | 0;
}

/** One random-looking word per byte value: the first four bytes of `SHA-256("azaion-v2-gear" ‖ 0 ‖ value)`, big-endian. */
export const GEAR: Int32Array = Int32Array.from({ length: 256 }, (_, value) =>
  hash('sha256', concatBytes(utf8('azaion-v2-gear\0'), Uint8Array.of(value)), 'buffer').readInt32BE(0),
);
