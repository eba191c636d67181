import { randomBytes } from 'node:crypto';

import fc from 'fast-check';

import {
  DRAFT_VERSION,
  newRecipeKey,
  openSegment,
  sealSegment,
  SEGMENT_KINDS,
  SEGMENT_OVERHEAD_BYTES,
  type SegmentPlace,
} from './sealed-segment.js';

const PLACE: SegmentPlace = {
  folderId: randomBytes(16),
  resourceId: randomBytes(16),
  version: 7,
  kind: 'chunks',
  index: 3,
  last: false,
};
const INVALID = expect.objectContaining({ code: 'segment.invalid' }) as Error;

describe('sealSegment and openSegment', () => {
  it.each([0, 1, 82, 82 * 4096])('round-trip %i bytes', (sizeBytes) => {
    const content = randomBytes(sizeBytes);
    const key = newRecipeKey();
    const sealed = sealSegment(content, key, PLACE);
    expect(sealed).toHaveLength(sizeBytes + SEGMENT_OVERHEAD_BYTES);
    expect(openSegment(sealed, key, PLACE).equals(content)).toBe(true);
  });

  it('round-trip in any place', () => {
    const key = newRecipeKey();
    fc.assert(
      fc.property(
        fc.nat(0xffff_ffff),
        fc.nat(0xffff_ffff),
        fc.boolean(),
        fc.constantFrom('root' as const, 'chunks' as const, 'packs' as const),
        (version, index, last, kind) => {
          const place = { ...PLACE, version, index, last, kind };
          expect(openSegment(sealSegment(Buffer.from('content'), key, place), key, place).toString()).toBe('content');
        },
      ),
    );
  });

  it.each([
    { folderId: new Uint8Array(15) },
    { resourceId: new Uint8Array(17) },
    { version: -1 },
    { version: 2 ** 32 },
    { index: 1.5 },
    { index: 2 ** 32 },
  ])('refuse a place that cannot exist: %j', (part) => {
    const key = newRecipeKey();
    const sealed = sealSegment(Buffer.from('content'), key, PLACE);
    expect(() => sealSegment(Buffer.from('content'), key, { ...PLACE, ...part })).toThrow(RangeError);
    expect(() => openSegment(sealed, key, { ...PLACE, ...part })).toThrow(RangeError);
  });
});

describe('openSegment', () => {
  const key = newRecipeKey();
  const sealed = sealSegment(Buffer.from('content'), key, PLACE);

  it.each<[string, Partial<SegmentPlace>]>([
    ['another folder', { folderId: randomBytes(16) }],
    ['another resource', { resourceId: randomBytes(16) }],
    ['folder and resource exchanged', { folderId: PLACE.resourceId, resourceId: PLACE.folderId }],
    ['an older version', { version: 6 }],
    ['a newer version', { version: 8 }],
    ['a draft', { version: DRAFT_VERSION }],
    ['the pack table', { kind: 'packs' }],
    ['the root', { kind: 'root' }],
    ['the place before', { index: 2 }],
    ['the place behind', { index: 4 }],
    ['the end', { last: true }],
  ])('refuses a segment in the place of %s', (_name, part) => {
    expect(() => openSegment(sealed, key, { ...PLACE, ...part })).toThrow(INVALID);
  });

  it('refuses another recipe key', () => {
    expect(() => openSegment(sealed, newRecipeKey(), PLACE)).toThrow(INVALID);
  });

  it('releases nothing when any single bit is flipped', () => {
    for (let bit = 0; bit < 8 * sealed.length; bit += 1) {
      const changed = Buffer.from(sealed);
      changed[bit >> 3]! ^= 1 << (bit & 7);
      expect(() => openSegment(changed, key, PLACE)).toThrow(INVALID);
    }
  });

  it('refuses every truncation and extension', () => {
    for (let sizeBytes = 0; sizeBytes < sealed.length; sizeBytes += 1)
      expect(() => openSegment(sealed.subarray(0, sizeBytes), key, PLACE)).toThrow(INVALID);
    expect(() => openSegment(Buffer.concat([sealed, Buffer.alloc(1)]), key, PLACE)).toThrow(INVALID);
  });
});

describe('the numbers of segment kinds', () => {
  it('are frozen', () => {
    expect(SEGMENT_KINDS).toEqual({ root: 0, chunks: 1, packs: 2 });
  });
});
