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
 * Cuts content into chunks: FastCDC (Xia et al., 2020) with normalized chunking level 2 and a 32-bit gear hash. Equal content is cut equally
 * wherever it stands, so that a small change makes a few new chunks. Borders are part of what makes versions share chunks: table, masks and
 * cut position are frozen by a vector.
 */
export class Chunker {
  private readonly strictMask: number;
  private readonly looseMask: number;

  /** @throws RangeError for sizes that are not `32 <= min <= average <= max`. */
  constructor(private readonly parameters: ChunkingParameters = CHUNKING) {
    const { minBytes, averageBytes, maxBytes } = parameters;
    if (minBytes < WINDOW_BYTES || averageBytes < minBytes || maxBytes < averageBytes)
      throw new RangeError('chunk sizes out of order');
    const averageBits = Math.round(Math.log2(averageBytes));
    this.strictMask = topBits(averageBits + NORMALIZATION_LEVEL);
    this.looseMask = topBits(averageBits - NORMALIZATION_LEVEL);
  }

  /**
   * Finds the end of one chunk. Nothing is kept between calls: a chunk that goes on is looked at again, from its start, when more of it is there.
   *
   * @param start - Where the chunk begins in `bytes`.
   * @param end - Up to where there is content, at most the length of `bytes`.
   * @returns Where the chunk ends; `undefined` when that cannot be said before more content is there. What is left at the end of all content is the last chunk.
   */
  endOf(bytes: Uint8Array, start: number, end: number): number | undefined {
    const { minBytes, averageBytes, maxBytes } = this.parameters;
    // From here on positions in the chunk, which the engine is told are small integers: this loop is what cutting costs.
    const limit = Math.min(end - start, maxBytes) | 0;
    // A border lies after the byte that was tested: the first one that may be tested ends a chunk of the least size.
    const tested = (minBytes - 1) | 0;
    if (limit <= tested) return undefined;
    const content = new DataView(bytes.buffer, bytes.byteOffset + start, limit);
    const strictEnd = Math.min(limit, averageBytes - 1) | 0;
    let gearHash = 0;
    for (let at = minBytes - WINDOW_BYTES; at < tested; at++)
      gearHash = ((gearHash << 1) + (GEAR[content.getUint8(at)] as number)) | 0;
    const strict = findBorder(content, tested, strictEnd, gearHash, this.strictMask);
    if (strict.found) return start + strict.at;
    const loose = findBorder(content, strictEnd, limit, strict.gearHash, this.looseMask);
    if (loose.found) return start + loose.at;
    return limit === maxBytes ? start + limit : undefined;
  }
}

interface Scanned {
  readonly found: boolean;
  /** The border, when one was found. */
  readonly at: number;
  readonly gearHash: number;
}

/** Four bytes a turn, read as one word: three of four published bytes pass through here. */
function findBorder(content: DataView, from: number, to: number, startHash: number, mask: number): Scanned {
  let gearHash = startHash;
  let at = from;
  for (const stop = to - 3; at < stop; at += 4) {
    const word = content.getInt32(at, true);
    gearHash = ((gearHash << 1) + (GEAR[word & 0xff] as number)) | 0;
    if ((gearHash & mask) === 0) return { found: true, at: at + 1, gearHash };
    gearHash = ((gearHash << 1) + (GEAR[(word >>> 8) & 0xff] as number)) | 0;
    if ((gearHash & mask) === 0) return { found: true, at: at + 2, gearHash };
    gearHash = ((gearHash << 1) + (GEAR[(word >>> 16) & 0xff] as number)) | 0;
    if ((gearHash & mask) === 0) return { found: true, at: at + 3, gearHash };
    gearHash = ((gearHash << 1) + (GEAR[word >>> 24] as number)) | 0;
    if ((gearHash & mask) === 0) return { found: true, at: at + 4, gearHash };
  }
  for (; at < to; at++) {
    gearHash = ((gearHash << 1) + (GEAR[content.getUint8(at)] as number)) | 0;
    if ((gearHash & mask) === 0) return { found: true, at: at + 1, gearHash };
  }
  return { found: false, at, gearHash };
}

/** The low bits of a gear hash see only the last few bytes; the top ones see the whole window. */
function topBits(count: number): number {
  return -(2 ** (WORD_BITS - count)) | 0;
}

/**
 * One random-looking word per byte value: the first four bytes of `SHA-256("azaion-v2-gear" ‖ 0 ‖ value)`, big-endian. Not exported: the engine
 * then knows what it holds, and need not look at every byte.
 */
const GEAR: Int32Array = Int32Array.from({ length: 256 }, (_, value) =>
  hash('sha256', concatBytes(utf8('azaion-v2-gear\0'), Uint8Array.of(value)), 'buffer').readInt32BE(0),
);

/** A copy of the frozen table of the gear hash, one word per byte value. */
export function gearTable(): Int32Array {
  return GEAR.slice();
}
