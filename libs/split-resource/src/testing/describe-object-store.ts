/// <reference types="jest" />
import { createHash, hash, randomBytes } from 'node:crypto';

import { ResourceError } from '../errors.js';
import { packObjectKey } from '../pack.js';
import type { ObjectStore, SignedPut } from '../ports/object-store.js';
import type { PackSink } from '../ports/pack-sink.js';
import type { PackSource } from '../ports/pack-source.js';
import { anyFolder, anyPack, collected, digestOf, sliceOf } from './contract-values.js';

/** An object store under test, with what follows its signed URLs. */
export interface ObjectStoreHarness {
  readonly store: ObjectStore;
  readonly sink: PackSink;
  readonly source: PackSource;
  readonly close?: () => Promise<void>;
}

/** The contract of {@link ObjectStore}, signed URLs included. @param make - Called once. */
export function describeObjectStore(name: string, make: () => Promise<ObjectStoreHarness>): void {
  describe(`${name} as an ObjectStore`, () => {
    const folderId = anyFolder();
    const bytes = randomBytes(200_000);
    let harness: ObjectStoreHarness;

    beforeAll(async () => {
      harness = await make();
    });
    afterAll(async () => {
      await harness.close?.();
    });

    const newKey = (): string => packObjectKey(folderId, anyPack(1).packId);
    const put = async (key: string, content = bytes): Promise<void> => {
      await harness.sink.put(
        await harness.store.signPut(key, signedPutOf(content, harness.store), 60),
        [content],
        30_000,
      );
    };
    const get = async (url: string, start: number, end: number): Promise<Buffer> =>
      collected(await harness.source.open({ folderId, pack: anyPack(bytes.length), url }, { start, end }, 30_000));

    it('answers', async () => {
      await harness.store.check();
    });

    it('knows nothing of an object that was never written', async () => {
      const key = newKey();
      expect(await harness.store.head(key)).toBeUndefined();
      await expect(harness.store.read(key, { start: 0, end: 1 })).rejects.toMatchObject({ code: 'pack.not-found' });
      // A store may hide what exists from those who may not list.
      const url = await harness.store.signGet(key, 60);
      await expect(get(url, 0, 1)).rejects.toMatchObject({
        code: expect.stringMatching(/^pack\.(?:not-found|forbidden)$/) as string,
      });
    });

    it('takes an object through a signed PUT and gives any range through a signed GET', async () => {
      const key = newKey();
      await put(key);
      expect(await harness.store.head(key)).toEqual({ sizeBytes: bytes.length });
      const url = await harness.store.signGet(key, 60);
      for (const [start, end] of [
        [0, 1],
        [0, bytes.length],
        [bytes.length - 1, bytes.length],
        [70_000, 130_001],
      ] as const)
        expect(digestOf(await get(url, start, end))).toBe(digestOf(sliceOf(bytes, { start, end })));
    });

    it('reads ranges itself', async () => {
      const key = newKey();
      await put(key);
      const range = { start: 1234, end: 100_000 };
      expect(digestOf(await collected(await harness.store.read(key, range)))).toBe(digestOf(sliceOf(bytes, range)));
    });

    it.each([
      ['reaches over', -10, 1],
      ['lies behind', 0, 1],
    ])('refuses a range that %s the end of an object, also to whom it signed for', async (_, from, to) => {
      const key = newKey();
      await put(key);
      const range = { start: bytes.length + from, end: bytes.length + to };
      await expect(harness.store.read(key, range)).rejects.toMatchObject({ code: 'pack.not-found' });
      const url = await harness.store.signGet(key, 60);
      await expect(get(url, range.start, range.end)).rejects.toMatchObject({ code: 'pack.truncated' });
    });

    it('takes an object that the service has made, and never in place of another', async () => {
      const key = newKey();
      await harness.store.write(key, bytes);
      expect(await harness.store.head(key)).toEqual({ sizeBytes: bytes.length });
      const url = await harness.store.signGet(key, 60);
      expect(digestOf(await get(url, 0, bytes.length))).toBe(digestOf(bytes));
      await expect(harness.store.write(key, bytes.subarray(1))).rejects.toMatchObject({ code: 'pack.exists' });
      expect(await harness.store.head(key)).toEqual({ sizeBytes: bytes.length });
    });

    it('never overwrites an object', async () => {
      const key = newKey();
      await put(key);
      await expect(put(key)).rejects.toMatchObject({ code: 'pack.exists' });
      expect(await harness.store.head(key)).toEqual({ sizeBytes: bytes.length });
    });

    it.each([
      ['other bytes of the same length', randomBytes(bytes.length)],
      ['fewer bytes', bytes.subarray(1)],
    ])('refuses %s than were announced', async (_, other) => {
      const key = newKey();
      const target = await harness.store.signPut(key, signedPutOf(bytes, harness.store), 60);
      await expect(harness.sink.put(target, [other], 30_000)).rejects.toThrow(ResourceError);
      expect(await harness.store.head(key)).toBeUndefined();
    });

    it('refuses a URL that was signed for another object', async () => {
      const [mine, other] = [newKey(), newKey()];
      await put(mine);
      await put(other);
      const url = (await harness.store.signGet(mine, 60)).replace(mine.slice(-32), other.slice(-32));
      await expect(get(url, 0, 10)).rejects.toMatchObject({ code: 'pack.forbidden' });
    });

    it('deletes, also what is not there', async () => {
      const key = newKey();
      await put(key);
      await harness.store.delete(key);
      expect(await harness.store.head(key)).toBeUndefined();
      await harness.store.delete(key);
    });
  });
}

function signedPutOf(content: Uint8Array, { needsMd5 }: ObjectStore): SignedPut {
  return {
    sizeBytes: content.length,
    sha256: hash('sha256', content, 'hex'),
    ...(needsMd5 ? { md5: createHash('md5').update(content).digest('base64') } : {}),
  };
}
