import { CHUNK_OVERHEAD_BYTES } from '@azaion/crypto';
import fc from 'fast-check';

import { MAX_CHUNKS_PER_PACK, MAX_PACK_BYTES } from '../pack.js';
import { encodeChunkTable, MAX_CHUNK_TABLE_BYTES, parseChunkTable } from './chunk-table.js';

const LEAST_BYTES = CHUNK_OVERHEAD_BYTES + 1;
const chunk = (id: number, offset: number, sealedBytes: number) => {
  const bytes = Buffer.alloc(16);
  bytes.writeUInt32BE(id);
  return { id: bytes, offset, sealedBytes };
};
const tableOf = (...chunks: readonly ReturnType<typeof chunk>[]): Buffer => encodeChunkTable(chunks);

describe('a chunk table', () => {
  it('reads as it was written, whatever lies between its chunks', () => {
    const gap = fc.record({ gap: fc.nat(1000), sealedBytes: fc.integer({ min: LEAST_BYTES, max: 600_000 }) });
    fc.assert(
      fc.property(fc.array(gap, { minLength: 1, maxLength: 50 }), (gaps) => {
        let end = 0;
        const chunks = gaps.map(({ gap: before, sealedBytes }, index) => {
          const offset = end + before;
          end = offset + sealedBytes;
          return chunk(index, offset, sealedBytes);
        });
        expect(parseChunkTable(tableOf(...chunks), end)).toEqual(chunks);
        expect(() => parseChunkTable(tableOf(...chunks), end - 1)).toThrow('outside');
      }),
    );
  });

  it('holds as many chunks as a pack may have, and not one more', () => {
    const most = Array.from({ length: MAX_CHUNKS_PER_PACK }, (_, index) => chunk(index, index * 100, 100));
    const table = tableOf(...most);
    expect(table).toHaveLength(MAX_CHUNK_TABLE_BYTES);
    expect(parseChunkTable(table, MAX_PACK_BYTES)).toHaveLength(MAX_CHUNKS_PER_PACK);
    const more = tableOf(...most, chunk(MAX_CHUNKS_PER_PACK, MAX_CHUNKS_PER_PACK * 100, 100));
    expect(() => parseChunkTable(more, MAX_PACK_BYTES)).toThrow('length');
  });

  it.each([
    ['nothing', Buffer.alloc(0), 'length'],
    ['half a record', tableOf(chunk(1, 0, 100)).subarray(0, 23), 'length'],
    ['a chunk that holds no plaintext', tableOf(chunk(1, 0, CHUNK_OVERHEAD_BYTES)), 'outside'],
    ['a chunk over the one before it', tableOf(chunk(1, 0, 100), chunk(2, 99, 100)), 'overlap'],
    ['chunks in another order', tableOf(chunk(1, 100, 100), chunk(2, 0, 100)), 'overlap'],
    ['a chunk whose end no 32 bits hold', tableOf(chunk(1, 0xffff_ffff, 0xffff_ffff)), 'outside'],
    ['one id twice', tableOf(chunk(1, 0, 100), chunk(1, 100, 100)), 'twice'],
  ])('is refused with %s', (_what, table, why) => {
    expect(() => parseChunkTable(table, 1000)).toThrow(
      expect.objectContaining({ code: 'upload.refused', message: expect.stringContaining(why) as string }) as Error,
    );
  });

  it('is refused where it goes beyond the largest pack, whatever size was announced', () => {
    expect(() => parseChunkTable(tableOf(chunk(1, MAX_PACK_BYTES - 99, 100)), 2 * MAX_PACK_BYTES)).toThrow('outside');
  });
});
