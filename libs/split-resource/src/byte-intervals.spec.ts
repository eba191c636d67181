import type { ByteRange } from '@azaion/kernel';
import fc from 'fast-check';

import { ByteIntervals } from './byte-intervals.js';

const SPACE = 40;
const range = fc
  .tuple(fc.nat(SPACE), fc.nat(SPACE))
  .map(([one, other]): ByteRange => ({ start: Math.min(one, other), end: Math.max(one, other) }));

/** The same set, byte by byte. */
function bytesOf(ranges: readonly ByteRange[]): number[] {
  return ranges.flatMap(({ start, end }) => Array.from({ length: end - start }, (_, index) => start + index));
}

describe('ByteIntervals', () => {
  it('holds the bytes that were added and not removed, in ranges that do not touch', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.boolean(), range), { maxLength: 12 }), range, (steps, wanted) => {
        const intervals = new ByteIntervals();
        const expected = new Set<number>();
        for (const [adds, step] of steps) {
          if (adds) intervals.add(step);
          else intervals.remove(step);
          for (const byte of bytesOf([step]))
            if (adds) expected.add(byte);
            else expected.delete(byte);
        }
        const { all } = intervals;
        expect(bytesOf(all)).toEqual([...expected].sort((a, b) => a - b));
        expect(intervals.sizeBytes).toBe(expected.size);
        expect(all.every(({ start, end }) => start < end)).toBe(true);
        expect(all.slice(1).every(({ start }, index) => start > all[index]!.end)).toBe(true);
        const missing = intervals.missing(wanted);
        expect(bytesOf(missing)).toEqual(bytesOf([wanted]).filter((byte) => !expected.has(byte)));
        expect(missing.every(({ start, end }) => start < end)).toBe(true);
      }),
      { numRuns: 1000 },
    );
  });

  it('makes one of ranges that touch, and none of an empty one', () => {
    const intervals = new ByteIntervals();
    for (const [start, end] of [
      [5, 5],
      [10, 20],
      [30, 40],
      [20, 30],
    ] as const)
      intervals.add({ start, end });
    expect(intervals.all).toEqual([{ start: 10, end: 40 }]);
  });
});
