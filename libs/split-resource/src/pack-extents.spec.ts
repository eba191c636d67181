import type { ByteRange } from '@azaion/kernel';
import { pseudoRandomBytes } from '@azaion/testing';
import fc from 'fast-check';

import { MAX_PACK_BYTES } from './pack.js';
import { areExtents, bytesInPack, extentsOf, MAX_PACK_EXTENTS, rangeInObject } from './pack-extents.js';

const PACK_BYTES = 2000;
const pack = Buffer.from(pseudoRandomBytes('a pack', PACK_BYTES));
const anyRange = fc
  .tuple(fc.nat(PACK_BYTES), fc.nat(PACK_BYTES))
  .map(([left, right]) => ({ start: Math.min(left, right), end: Math.max(left, right) }));
const notEmpty = anyRange.filter(({ start, end }) => start < end);
const kept = fc.array(notEmpty, { minLength: 1, maxLength: 12 });

const objectOf = (extents: readonly ByteRange[]): Buffer =>
  Buffer.concat(extents.map(({ start, end }) => pack.subarray(start, end)));

/** One for every byte of the pack that is in a range. */
const marked = (ranges: readonly ByteRange[]): Buffer => {
  const marks = Buffer.alloc(PACK_BYTES);
  for (const { start, end } of ranges) marks.fill(1, start, end);
  return marks;
};

describe('the extents of a compacted pack', () => {
  it('give for any range the very bytes of what was kept, and zeros for what was not', () => {
    fc.assert(
      fc.property(kept, anyRange, (ranges, range) => {
        const extents = extentsOf(ranges);
        const stored = rangeInObject(extents, range);
        const found = bytesInPack(extents, range, objectOf(extents).subarray(stored.start, stored.end));
        const expected = Buffer.alloc(range.end - range.start);
        for (let at = range.start; at < range.end; at++)
          if (ranges.some(({ start, end }) => start <= at && at < end)) expected[at - range.start] = pack[at] as number;
        expect(found.equals(expected)).toBe(true);
      }),
    );
  });

  it('are what is kept, in order, nothing more, and valid', () => {
    fc.assert(
      fc.property(kept, (ranges) => {
        const extents = extentsOf(ranges);
        expect(areExtents(extents)).toBe(true);
        expect(marked(extents).equals(marked(ranges))).toBe(true);
      }),
    );
  });

  it.each([MAX_PACK_EXTENTS, MAX_PACK_EXTENTS + 1, 5 * MAX_PACK_EXTENTS])(
    'of %i ranges are as many as allowed at most: those with the least between them become one',
    (count) => {
      // The gaps grow: 1, 2, 3, …
      const ranges = Array.from({ length: count }, (_, index) => {
        const start = index + (index * (index + 1)) / 2;
        return { start, end: start + 1 };
      });
      const extents = extentsOf(ranges.toReversed());
      expect(extents).toHaveLength(Math.min(count, MAX_PACK_EXTENTS));
      expect(areExtents(extents)).toBe(true);
      const joinedUpTo = ranges[Math.max(0, count - MAX_PACK_EXTENTS)] as ByteRange;
      expect(extents[0]).toEqual({ start: 0, end: joinedUpTo.end });
    },
  );

  it('stand for nothing where a pack is whole', () => {
    const range = { start: 10, end: 20 };
    expect(rangeInObject(undefined, range)).toBe(range);
    const bytes = pack.subarray(10, 20);
    expect(bytesInPack(undefined, range, bytes)).toBe(bytes);
  });

  it.each<[string, readonly ByteRange[]]>([
    ['none', []],
    ['an empty one', [{ start: 3, end: 3 }]],
    ['one that ends before it begins', [{ start: 3, end: 2 }]],
    ['one before the pack', [{ start: -1, end: 2 }]],
    ['one beyond any pack', [{ start: 0, end: MAX_PACK_BYTES + 1 }]],
    ['parts of a byte', [{ start: 0, end: 1.5 }]],
    ['no number', [{ start: 0, end: NaN }]],
    ['two that touch', [{ start: 0, end: 2 }, { start: 2, end: 3 }]], // prettier-ignore
    ['two that overlap', [{ start: 0, end: 2 }, { start: 1, end: 3 }]], // prettier-ignore
    ['two in the wrong order', [{ start: 4, end: 5 }, { start: 1, end: 3 }]], // prettier-ignore
    [
      'too many',
      Array.from({ length: MAX_PACK_EXTENTS + 1 }, (_, index) => ({ start: 2 * index, end: 2 * index + 1 })),
    ],
  ])('are not %s', (_, extents) => {
    expect(areExtents(extents)).toBe(false);
  });
});
