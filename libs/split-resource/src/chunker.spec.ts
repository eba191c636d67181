import { createCipheriv, hash, randomBytes } from 'node:crypto';

import fc from 'fast-check';

import { pseudoRandomBytes } from '@azaion/testing';

import { Chunker, CHUNKING, type ChunkingParameters, gearTable } from './chunker.js';

const SMALL: ChunkingParameters = { algorithm: 'fastcdc-nc2-gear32', minBytes: 64, averageBytes: 256, maxBytes: 1024 };
const { minBytes, averageBytes, maxBytes } = CHUNKING;

/** The same bytes on every machine. */
function keystream(sizeBytes: number): Buffer {
  return createCipheriv('aes-256-ctr', Buffer.alloc(32), Buffer.alloc(16)).update(Buffer.alloc(sizeBytes));
}

/** @param pieceBytes - So much more is there at a time. */
function cut(content: Uint8Array, pieceBytes = content.length, parameters = CHUNKING): Buffer[] {
  const chunker = new Chunker(parameters);
  const chunks: Buffer[] = [];
  let start = 0;
  for (let end = Math.min(pieceBytes, content.length); start < content.length;) {
    const border = chunker.endOf(content, start, end) ?? (end === content.length ? end : undefined);
    if (border === undefined) {
      end = Math.min(end + pieceBytes, content.length);
    } else {
      chunks.push(Buffer.from(content.subarray(start, border)));
      start = border;
    }
  }
  return chunks;
}

const gear = gearTable();

/** The format's words, byte by byte. Source: docs/formats/sealed-resource.md, "Chunks". */
function endByTheBook(content: Uint8Array, start: number, parameters: ChunkingParameters): number {
  const bits = Math.log2(parameters.averageBytes);
  let gearHash = 0;
  for (let at = start + parameters.minBytes - 32; at < content.length; at++) {
    gearHash = ((gearHash << 1) + gear[content[at]!]!) >>> 0;
    const chunkBytes = at + 1 - start;
    if (chunkBytes < parameters.minBytes) continue;
    const zeroBits = chunkBytes < parameters.averageBytes ? bits + 2 : bits - 2;
    if (gearHash < 2 ** (32 - zeroBits) || chunkBytes === parameters.maxBytes) return at + 1;
  }
  return content.length;
}

describe('Chunker', () => {
  it('cuts as it always has: table and borders are frozen', () => {
    const table = Buffer.alloc(1024);
    gear.forEach((word, index) => table.writeInt32BE(word, index * 4));
    expect(hash('sha256', table)).toBe('2c4fa347ad110df15d80df37234afb7f542b942239d9d40b4c24987fe2ece23d');
    expect(cut(keystream(2_000_000), 65_536).map(({ length }) => length)).toEqual([
      182802, 52820, 36735, 144752, 172278, 137277, 131214, 232969, 185745, 132168, 148376, 162303, 151812, 128749,
    ]);
  });

  it.each([0, 1, minBytes - 1, minBytes, minBytes + 1, averageBytes, maxBytes - 1, maxBytes, maxBytes + 1])(
    'keeps the bounds for %i bytes',
    (sizeBytes) => {
      for (const content of [Buffer.alloc(sizeBytes), randomBytes(sizeBytes)]) {
        const chunks = cut(content);
        expect(Buffer.concat(chunks).equals(content)).toBe(true);
        expect(chunks.every(({ length }) => length > 0 && length <= maxBytes)).toBe(true);
        expect(chunks.slice(0, -1).every(({ length }) => length >= minBytes)).toBe(true);
      }
    },
  );

  it('cuts content without borders at the greatest length', () => {
    const chunks = cut(Buffer.alloc(3 * maxBytes + 5, 1));
    expect(chunks.every(({ length }, index) => length === (index < 3 ? maxBytes : 5))).toBe(true);
  });

  it('comes near the average it promises', () => {
    const chunks = cut(keystream(32 * 1024 * 1024), 1 << 20);
    const mean = (32 * 1024 * 1024) / chunks.length;
    expect(mean).toBeGreaterThan(averageBytes * 0.9);
    expect(mean).toBeLessThan(averageBytes * 1.3);
  });

  it('gives back every content, wherever the pieces of the stream end', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 8000 }), fc.integer({ min: 1, max: 3000 }), (content, pieceBytes) => {
        const chunks = cut(content, pieceBytes, SMALL);
        expect(Buffer.concat(chunks).equals(Buffer.from(content))).toBe(true);
        expect(chunks.map(({ length }) => length)).toEqual(
          cut(content, content.length || 1, SMALL).map(({ length }) => length),
        );
        expect(chunks.slice(0, -1).every(({ length }) => length >= SMALL.minBytes && length <= SMALL.maxBytes)).toBe(
          true,
        );
      }),
      { numRuns: 100 },
    );
  });

  it('finds its borders again soon after a change', () => {
    fc.assert(
      fc.property(fc.nat(100_000), fc.integer({ min: 0, max: 500 }), (at, insertedBytes) => {
        const content = keystream(200_000);
        const changed = Buffer.concat([content.subarray(0, at), randomBytes(insertedBytes), content.subarray(at)]);
        const before = new Set(cut(content, 65_536, SMALL).map((chunk) => hash('sha256', chunk)));
        const newBytes = cut(changed, 65_536, SMALL)
          .filter((chunk) => !before.has(hash('sha256', chunk)))
          .reduce((sum, { length }) => sum + length, 0);
        expect(newBytes).toBeLessThan(insertedBytes + 12 * SMALL.maxBytes);
      }),
      { numRuns: 30 },
    );
  });

  it.each([
    ['small chunks', SMALL, 300_000],
    ['chunks of one length', { ...SMALL, averageBytes: 64, maxBytes: 64 }, 10_000],
    ['average at the least length', { ...SMALL, averageBytes: 64 }, 100_000],
    ['average at the greatest length', { ...SMALL, averageBytes: 1024 }, 300_000],
    ['the format’s own', CHUNKING, 4_000_000],
  ])('cuts as the format says byte by byte: %s', (_, parameters, sizeBytes) => {
    const content = pseudoRandomBytes('by the book', sizeBytes);
    const chunker = new Chunker(parameters);
    for (let start = 0; start < content.length;) {
      const end = endByTheBook(content, start, parameters);
      expect(chunker.endOf(content, start, content.length) ?? content.length).toBe(end);
      start = end;
    }
  });

  it('finds the end of a chunk wherever it lies in memory', () => {
    const content = pseudoRandomBytes('anywhere', 5000);
    const end = new Chunker(SMALL).endOf(content, 0, content.length)!;
    for (let before = 0; before < 9; before++) {
      const memory = new Uint8Array(new SharedArrayBuffer(content.length + before));
      memory.set(content, before);
      expect(new Chunker(SMALL).endOf(memory, before, memory.length)).toBe(before + end);
      expect(new Chunker(SMALL).endOf(memory.subarray(before), 0, content.length)).toBe(end);
    }
  });

  it.each([
    [31, 64, 128],
    [64, 63, 128],
    [64, 128, 127],
  ])('refuses sizes out of order: %i, %i, %i', (min, average, max) => {
    const parameters = { ...SMALL, minBytes: min, averageBytes: average, maxBytes: max };
    expect(() => new Chunker(parameters)).toThrow(RangeError);
  });
});
