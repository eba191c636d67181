/// <reference types="jest" />
import { randomBytes } from 'node:crypto';

import { type SegmentStore } from '../ports/segment-store.js';

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

    it('holds one whole value after writes at the same time', async () => {
      const store = await make();
      const values = Array.from({ length: 8 }, () => randomBytes(50_000));
      await Promise.all(values.map((value) => store.write(key, value)));
      const kept = Buffer.from((await store.read(key))!);
      expect(values.some((value) => value.equals(kept))).toBe(true);
    });
  });
}
