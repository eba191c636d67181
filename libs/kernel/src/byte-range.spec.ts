import fc from 'fast-check';

import { wantedRange } from './byte-range.js';

describe('wantedRange (RFC 9110 §14.1.2)', () => {
  it.each([
    ['bytes=0-499', 10_000, { start: 0, end: 500 }],
    ['bytes=500-999', 10_000, { start: 500, end: 1000 }],
    ['bytes=-500', 10_000, { start: 9500, end: 10_000 }],
    ['bytes=9500-', 10_000, { start: 9500, end: 10_000 }],
    [' bytes=0-0 ', 1, { start: 0, end: 1 }],
    ['bytes=0-', 1, { start: 0, end: 1 }],
    ['bytes=-5', 1, { start: 0, end: 1 }],
    ['bytes=0-999999999999999', 3, { start: 0, end: 3 }],
    ['bytes=1-', 1, 'unsatisfiable'],
    ['bytes=0-', 0, 'unsatisfiable'],
    ['bytes=-0', 5, 'unsatisfiable'],
    ['bytes=-5', 0, 'unsatisfiable'],
    ['bytes=5-4', 10, 'ignored'],
    ['bytes=0-1,3-4', 10, 'ignored'],
    ['bytes=-', 10, 'ignored'],
    ['bytes=a-b', 10, 'ignored'],
    ['bytes=1.5-2', 10, 'ignored'],
    ['bytes=0x1-2', 10, 'ignored'],
    ['bytes=١-٢', 10, 'ignored'],
    ['bytes=1000000000000000-', 10, 'ignored'],
    ['items=0-1', 10, 'ignored'],
    ['Bytes=0-1', 10, 'ignored'],
    ['', 10, 'ignored'],
  ])('%j of %i bytes', (header, totalBytes, wanted) => {
    expect(wantedRange(header, totalBytes)).toEqual(wanted);
  });

  it('is never empty and never outside, and gives back what was asked for where that lies inside', () => {
    const size = fc.nat(2 ** 40);
    fc.assert(
      fc.property(size, size, size, (totalBytes, one, other) => {
        const [first, last] = [Math.min(one, other), Math.max(one, other)];
        for (const header of [`bytes=${first}-${last}`, `bytes=${first}-`, `bytes=-${last}`]) {
          const found = wantedRange(header, totalBytes);
          if (typeof found === 'string') continue;
          expect(found.start).toBeLessThan(found.end);
          expect(found.end).toBeLessThanOrEqual(totalBytes);
        }
        if (last < totalBytes)
          expect(wantedRange(`bytes=${first}-${last}`, totalBytes)).toEqual({ start: first, end: last + 1 });
      }),
    );
  });
});
