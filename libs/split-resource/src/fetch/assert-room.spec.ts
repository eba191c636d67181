import { Readable } from 'node:stream';

import { pseudoRandomBytes } from '@azaion/testing';

import { PackSource } from '../ports/pack-source.js';
import { InMemoryPackStore } from '../testing/in-memory-pack-store.js';
import { collect, RESOURCE, TINY, World } from '../testing/world.js';
import type { OpenedResource } from './fetch-resource.js';

/** Chunks of 64 bytes, 93 when they are sealed, 11 in a pack of at least 1024. */
const PACK_BYTES = 1024;
const NO_SPACE = { code: 'resource.no-space' };

/** A disk that was shipped with every pack. */
class Deployed extends PackSource {
  override readonly remote = false;

  override open(): Promise<Readable> {
    return Promise.resolve(Readable.from([Buffer.alloc(1)]));
  }
}

let world: World;

beforeEach(async () => {
  world = await World.create({ chunking: TINY, packTargetBytes: PACK_BYTES });
});

/** The newest version, and the sealed bytes that it keeps in a store without bounds. */
async function published(content: Buffer): Promise<number> {
  await world.publish(content);
  const store = new InMemoryPackStore();
  await world.fetch({ store });
  return (await store.usage()).bytes;
}
const opened = (limitBytes: number, local = false): Promise<OpenedResource> => {
  const store = new InMemoryPackStore(limitBytes);
  const sources = local ? [new Deployed(), world.source] : [world.source];
  return world.fetcher({ store, sources }).run({ resource: RESOURCE, version: undefined, recipient: world.recipient });
};

describe('the room for a version that is to stay', () => {
  it('is there when the store can keep all of it, to the byte', async () => {
    const neededBytes = await published(pseudoRandomBytes('room', 5000));
    await expect((await opened(neededBytes)).assertRoom()).resolves.toBeUndefined();
    await expect((await opened(neededBytes - 1)).assertRoom()).rejects.toMatchObject({
      ...NO_SPACE,
      details: { neededBytes, capacityBytes: neededBytes - 1 },
    });
  });

  it('is asked for before anything is fetched or given up', async () => {
    const neededBytes = await published(pseudoRandomBytes('room', 5000));
    const store = new InMemoryPackStore(neededBytes - 1);
    const other = { packId: 'ab'.repeat(16), sizeBytes: 100, sha256: new Uint8Array(32) };
    await store.write(world.admin.folderId, other, 0, Buffer.alloc(100));
    const resource = await world.fetcher({ store }).run({ resource: RESOURCE, recipient: world.recipient });
    await expect(resource.assertRoom()).rejects.toMatchObject(NO_SPACE);
    expect((await store.usage()).bytes).toBe(100);
  });

  it('counts what a version uses of packs that it shares, not the whole packs', async () => {
    const first = pseudoRandomBytes('first', 64 * 200);
    await world.publish(first);
    // One chunk in twenty of the version before.
    const parts = Array.from({ length: 10 }, (_, index) => first.subarray(index * 1280, index * 1280 + 64));
    const neededBytes = await published(Buffer.concat(parts));
    expect(neededBytes).toBeLessThan(10 * PACK_BYTES);
    await expect((await opened(neededBytes)).assertRoom()).resolves.toBeUndefined();
    await expect((await opened(neededBytes - 1)).assertRoom()).rejects.toMatchObject(NO_SPACE);
  });

  it('counts equal content once', async () => {
    await published(Buffer.alloc(64 * 500));
    await expect((await opened(2 * PACK_BYTES)).assertRoom()).resolves.toBeUndefined();
  });

  it('is none for packs that lie on the machine by themselves, and for an empty version', async () => {
    await published(pseudoRandomBytes('room', 5000));
    await expect((await opened(0, true)).assertRoom()).resolves.toBeUndefined();
    await published(Buffer.alloc(0));
    await expect((await opened(0)).assertRoom()).resolves.toBeUndefined();
  });

  it('is not asked for by a read, which goes through a smaller store', async () => {
    const content = pseudoRandomBytes('room', 20_000);
    await published(content);
    const small = await opened(40 * 1024 * 1024);
    expect(await collect(small.read())).toEqual(content);
  });
});
