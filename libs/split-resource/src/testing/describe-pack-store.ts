/// <reference types="jest" />
import { randomBytes } from 'node:crypto';

import fc from 'fast-check';

import { MAX_PACK_BYTES } from '../pack.js';
import type { PackStore } from '../ports/pack-store.js';
import { anyFolder, anyPack, digestOf, sliceOf } from './contract-values.js';

/** The contract of {@link PackStore}. @param make - A new, empty store with this limit. */
export function describePackStore(name: string, make: (limitBytes: number) => Promise<PackStore>): void {
  describe(`${name} as a PackStore`, () => {
    const folderId = anyFolder();
    const content = randomBytes(10_000);

    it('has nothing of a pack it has never seen', async () => {
      const store = await make(1e6);
      const range = { start: 5, end: 10 };
      expect(await store.read(folderId, anyPack(100), range)).toBeUndefined();
      expect(await store.missing(folderId, anyPack(100), range)).toEqual([range]);
      await store.discard(folderId, anyPack(100), range);
      expect(await store.usage()).toEqual({ bytes: 0, limitBytes: 1e6 });
    });

    it('returns what was written, and only whole ranges', async () => {
      const store = await make(1e6);
      const pack = anyPack(content.length);
      await store.write(folderId, pack, 1000, content.subarray(1000, 3000));
      for (const range of [
        { start: 1000, end: 3000 },
        { start: 1000, end: 1001 },
        { start: 2999, end: 3000 },
      ])
        expect(digestOf(await store.read(folderId, pack, range))).toBe(digestOf(sliceOf(content, range)));
      for (const range of [
        { start: 999, end: 1001 },
        { start: 2999, end: 3001 },
        { start: 0, end: content.length },
      ])
        expect(await store.read(folderId, pack, range)).toBeUndefined();
      expect(await store.missing(folderId, pack, { start: 0, end: content.length })).toEqual([
        { start: 0, end: 1000 },
        { start: 3000, end: content.length },
      ]);
    });

    it('keeps packs and folders apart', async () => {
      const store = await make(1e6);
      const pack = anyPack(100);
      await store.write(folderId, pack, 0, content.subarray(0, 100));
      expect(await store.read(anyFolder(), pack, { start: 0, end: 100 })).toBeUndefined();
      expect(await store.read(folderId, anyPack(100), { start: 0, end: 100 })).toBeUndefined();
    });

    it('refuses to write beyond the end of a pack', async () => {
      const store = await make(1e6);
      await expect(store.write(folderId, anyPack(10), 5, content.subarray(0, 6))).rejects.toThrow(RangeError);
    });

    it('forgets what is discarded and takes it again', async () => {
      const store = await make(1e6);
      const pack = anyPack(content.length);
      await store.write(folderId, pack, 0, Buffer.alloc(content.length));
      await store.discard(folderId, pack, { start: 100, end: 200 });
      expect(await store.read(folderId, pack, { start: 150, end: 250 })).toBeUndefined();
      expect((await store.usage()).bytes).toBe(content.length - 100);
      expect(await store.spare(() => false)).toEqual({ packs: 1, bytes: content.length - 100 });
      const isNeeded = (...names: readonly string[]): boolean => names.join() === [folderId, pack.packId].join();
      expect(await store.spare(isNeeded)).toEqual({ packs: 0, bytes: 0 });
      await store.write(folderId, pack, 50, content.subarray(50, 250));
      expect(digestOf(await store.read(folderId, pack, { start: 50, end: 250 }))).toBe(
        digestOf(content.subarray(50, 250)),
      );
      expect((await store.usage()).bytes).toBe(content.length);
    });

    it('agrees with a plain model after any writes and discards', async () => {
      const pack = anyPack(content.length);
      const step = fc.record({
        discard: fc.boolean(),
        start: fc.nat(content.length - 1),
        length: fc.integer({ min: 1, max: 2000 }),
      });
      await fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
          const store = await make(1e6);
          const present = new Uint8Array(content.length);
          for (const { discard, start, length } of steps) {
            const range = { start, end: Math.min(start + length, content.length) };
            if (discard) await store.discard(folderId, pack, range);
            else await store.write(folderId, pack, start, sliceOf(content, range));
            present.fill(discard ? 0 : 1, range.start, range.end);
          }
          const whole = { start: 0, end: content.length };
          const gaps = await store.missing(folderId, pack, whole);
          const stated = new Uint8Array(content.length).fill(1);
          for (const gap of gaps) stated.fill(0, gap.start, gap.end);
          expect(digestOf(stated)).toBe(digestOf(present));
          expect((await store.usage()).bytes).toBe(present.reduce((sum, one) => sum + one, 0));
          for (const { start, length } of steps) {
            const range = { start, end: Math.min(start + length, content.length) };
            const expected = present.subarray(range.start, range.end).every((one) => one === 1);
            expect(digestOf(await store.read(folderId, pack, range))).toBe(
              expected ? digestOf(sliceOf(content, range)) : undefined,
            );
          }
        }),
        { numRuns: 25 },
      );
    });

    it('evicts what was used longest ago', async () => {
      const store = await make(3000);
      const [first, second, third, fourth] = [anyPack(1000), anyPack(1000), anyPack(1000), anyPack(1000)];
      const whole = { start: 0, end: 1000 };
      for (const pack of [first, second, third]) {
        await store.write(folderId, pack, 0, content.subarray(0, 1000));
        await differentMoment();
      }
      await store.read(folderId, first, whole);
      await differentMoment();
      await store.write(folderId, fourth, 0, content.subarray(0, 1000));
      expect(await store.read(folderId, second, whole)).toBeUndefined();
      for (const pack of [first, third, fourth]) expect(await store.read(folderId, pack, whole)).toBeDefined();
      expect((await store.usage()).bytes).toBe(3000);
    });

    it('makes room ahead, and says so when there cannot be enough', async () => {
      const store = await make(3000);
      const pack = anyPack(2000);
      await store.write(folderId, pack, 0, content.subarray(0, 2000));
      await store.reserve(1000);
      expect((await store.usage()).bytes).toBe(2000);
      await expect(store.reserve(3001)).rejects.toMatchObject({ code: 'resource.no-space' });
      expect((await store.usage()).bytes).toBe(2000);
      await store.reserve(3000);
      expect((await store.usage()).bytes).toBe(0);
      await expect(store.write(folderId, anyPack(4000), 0, content.subarray(0, 4000))).rejects.toMatchObject({
        code: 'resource.no-space',
      });
      await store.write(folderId, pack, 0, content.subarray(0, 2000));
      expect(digestOf(await store.read(folderId, pack, { start: 0, end: 2000 }))).toBe(
        digestOf(content.subarray(0, 2000)),
      );
    });

    it('could keep as much as its limit says, whatever it holds now', async () => {
      const store = await make(3000);
      expect(await store.capacityBytes()).toBe(3000);
      await store.write(folderId, anyPack(2000), 0, content.subarray(0, 2000));
      expect(await store.capacityBytes()).toBe(3000);
    });

    it('lets a fetch through that is larger than its limit, as long as a pack fits', async () => {
      const store = await make(MAX_PACK_BYTES);
      await store.write(folderId, anyPack(1000), 0, content.subarray(0, 1000));
      await store.reserve(512 * 1024 * 1024);
      expect((await store.usage()).bytes).toBe(0);
      const tooSmall = await make(MAX_PACK_BYTES - 1);
      await expect(tooSmall.reserve(512 * 1024 * 1024)).rejects.toMatchObject({ code: 'resource.no-space' });
    });

    it('takes writes of one pack at the same time', async () => {
      const store = await make(1e6);
      const pack = anyPack(content.length);
      const starts = Array.from({ length: 10 }, (_, index) => index * 1000);
      await Promise.all(
        starts.map((start) => store.write(folderId, pack, start, content.subarray(start, start + 1000))),
      );
      expect(digestOf(await store.read(folderId, pack, { start: 0, end: content.length }))).toBe(digestOf(content));
    });
  });
}

/** Least recent use is told apart by the clock's milliseconds. */
async function differentMoment(): Promise<void> {
  const started = Date.now();
  while (Date.now() === started) await new Promise((resolve) => setImmediate(resolve));
}
