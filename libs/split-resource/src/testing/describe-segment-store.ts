/// <reference types="jest" />
import { randomBytes } from 'node:crypto';

import type { SegmentStore } from '../ports/segment-store.js';

/** The contract of {@link SegmentStore}. @param make - A new, empty store. */
export function describeSegmentStore(name: string, make: () => Promise<SegmentStore>): void {
  describe(`${name} as a SegmentStore`, () => {
    const key = `${'ab'.repeat(32)}/chunks/0`;

    it('has nothing under a new key', async () => {
      expect(await (await make()).read(key)).toBeUndefined();
    });

    it.each([0, 1, 400_000])('keeps %i bytes', async (sizeBytes) => {
      const store = await make();
      const bytes = randomBytes(sizeBytes);
      await store.write(key, bytes);
      expect(Buffer.from((await store.read(key))!).equals(bytes)).toBe(true);
    });

    it('replaces an entry as a whole and leaves its neighbours alone', async () => {
      const store = await make();
      const neighbour = `${'ab'.repeat(32)}/chunks/1`;
      await store.write(key, Buffer.from('a long first value'));
      await store.write(neighbour, Buffer.from('neighbour'));
      await store.write(key, Buffer.from('short'));
      expect(Buffer.from((await store.read(key))!).toString()).toBe('short');
      expect(Buffer.from((await store.read(neighbour))!).toString()).toBe('neighbour');
    });

    it('says which versions have parts and how large they are, and forgets one with all of its parts', async () => {
      const store = await make();
      const [first, second] = ['ab', 'cd'].map((digits) => digits.repeat(32)) as [string, string];
      expect(await store.recipes()).toEqual([]);
      const before = Date.now();
      await store.write(`${first}/root/0`, randomBytes(10));
      await store.write(`${first}/chunks/0`, randomBytes(100));
      await store.write(`${second}/root/0`, randomBytes(1));
      const kept = await store.recipes();
      expect(kept.map(({ rootHash, sizeBytes }) => [rootHash, sizeBytes]).sort()).toEqual([
        [first, 110],
        [second, 1],
      ]);
      // File systems cut times off.
      for (const { usedAtMs } of kept) expect(usedAtMs).toBeGreaterThanOrEqual(before - 2000);
      await store.drop(first);
      await store.drop(first);
      expect(await store.read(`${first}/root/0`)).toBeUndefined();
      expect((await store.recipes()).map(({ rootHash }) => rootHash)).toEqual([second]);
      await store.write(`${first}/root/0`, randomBytes(10));
      expect(await store.recipes()).toHaveLength(2);
    });

    it('holds one whole value after writes at the same time', async () => {
      const store = await make();
      const values = Array.from({ length: 8 }, () => randomBytes(50_000));
      await Promise.all(values.map((value) => store.write(key, value)));
      const kept = Buffer.from((await store.read(key))!);
      expect(values.some((value) => value.equals(kept))).toBe(true);
    });
  });
}
