import { CHUNK_OVERHEAD_BYTES } from '@azaion/crypto';

import { ChunkSegment, writeChunkRecord } from './chunk-segment.js';
import { CHUNK_RECORD_BYTES, RECORDS_PER_SEGMENT } from './limits.js';

const BOUNDS = { packs: 1, maxChunkBytes: 512 * 1024 };

/** A segment of chunks of these lengths, stored as they are. */
function segmentOf(lengths: readonly number[]): ChunkSegment {
  const bytes = Buffer.alloc(lengths.length * CHUNK_RECORD_BYTES);
  for (const [index, plaintextBytes] of lengths.entries())
    writeChunkRecord(bytes, index, {
      h: new Uint8Array(32),
      key: new Uint8Array(32),
      plaintextBytes,
      domain: 0,
      packIndex: 0,
      offset: 0,
      sealedBytes: plaintextBytes + CHUNK_OVERHEAD_BYTES,
    });
  const plaintextBytes = lengths.reduce((sum, length) => sum + length, 0);
  return ChunkSegment.parse(bytes, { ...BOUNDS, count: lengths.length, plaintextBytes });
}

describe('ChunkSegment', () => {
  it.each([
    ['one chunk', [1]],
    ['one large chunk', [512 * 1024]],
    ['chunks of one byte', [1, 1, 1]],
    ['chunks of many lengths', [32_768, 1, 524_288, 131_072, 7]],
    [
      'as many chunks as a segment has',
      Array.from({ length: RECORDS_PER_SEGMENT }, (_, index) => 1 + ((index * 7919) % 1000)),
    ],
    ['the longest chunks that there are', Array.from({ length: RECORDS_PER_SEGMENT }, () => 512 * 1024)],
  ])('finds the chunk of a byte, and where that begins (%s)', (_, lengths) => {
    const segment = segmentOf(lengths);
    let start = 0;
    for (const [index, length] of lengths.entries()) {
      expect([segment.plaintextStart(index), segment.chunkAt(start), segment.chunkAt(start + length - 1)]).toEqual([
        start,
        index,
        index,
      ]);
      start += length;
    }
  });
});
