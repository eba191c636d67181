/// <reference types="jest" />
import { randomBytes } from 'node:crypto';

import type { PackLocation, PackSource } from '../ports/pack-source.js';
import { anyFolder, anyPack, collected, digestOf, sliceOf } from './contract-values.js';

/** A source under test and the place behind it. */
export interface PackSourceHarness {
  readonly source: PackSource;
  /** Puts a pack where the source finds it; without bytes, tells where it would be. */
  readonly locate: (folderId: string, pack: PackLocation['pack'], bytes: Buffer | undefined) => Promise<PackLocation>;
  /** How it refuses what lies behind the end of a pack that is cut short; `pack.truncated` unless given. */
  readonly cutShort?: 'pack.not-found' | 'pack.unavailable';
  readonly close?: () => Promise<void>;
}

/** The contract of {@link PackSource}. @param make - A new source with nothing behind it. */
export function describePackSource(name: string, make: () => Promise<PackSourceHarness>): void {
  describe(`${name} as a PackSource`, () => {
    const bytes = randomBytes(300_000);
    const pack = anyPack(bytes.length);
    let harness: PackSourceHarness;
    let location: PackLocation;

    beforeEach(async () => {
      harness = await make();
      location = await harness.locate(anyFolder(), pack, bytes);
    });
    afterEach(async () => {
      await harness.close?.();
    });

    it.each([
      { start: 0, end: 1 },
      { start: 0, end: 300_000 },
      { start: 299_999, end: 300_000 },
      { start: 70_000, end: 200_001 },
    ])('reads exactly bytes $start to $end', async (range) => {
      expect(digestOf(await collected(await harness.source.open(location, range, 10_000)))).toBe(
        digestOf(sliceOf(bytes, range)),
      );
    });

    it('reads many ranges at the same time', async () => {
      const ranges = Array.from({ length: 20 }, (_, index) => ({ start: index * 10_000, end: index * 10_000 + 9_999 }));
      const read = await Promise.all(
        ranges.map(async (range) => collected(await harness.source.open(location, range, 10_000))),
      );
      expect(read.map(digestOf)).toEqual(ranges.map((range) => digestOf(sliceOf(bytes, range))));
    });

    it('says pack.not-found for a pack that is not there', async () => {
      const absent = await harness.locate(anyFolder(), anyPack(1000), undefined);
      await expect(harness.source.open(absent, { start: 0, end: 10 }, 10_000)).rejects.toMatchObject({
        code: 'pack.not-found',
      });
    });

    it.each([
      { what: 'reaches over', start: 90_000, end: 100_001 },
      { what: 'lies behind', start: 100_000, end: 100_001 },
    ])('refuses a range that $what the end of a pack that is cut short', async ({ start, end }) => {
      const cut = await harness.locate(anyFolder(), anyPack(bytes.length), bytes.subarray(0, 100_000));
      const opening = harness.source.open(cut, { start, end }, 10_000);
      await expect(opening.then(collected)).rejects.toMatchObject({ code: harness.cutShort ?? 'pack.truncated' });
    });

    it('goes on after a reader gave up in the middle', async () => {
      const abandoned = await harness.source.open(location, { start: 0, end: bytes.length }, 10_000);
      abandoned.on('error', () => undefined);
      abandoned.destroy();
      const range = { start: 10, end: 20 };
      expect(digestOf(await collected(await harness.source.open(location, range, 10_000)))).toBe(
        digestOf(sliceOf(bytes, range)),
      );
    });
  });
}
