import { Readable } from 'node:stream';

import { type ByteRange, ManualClock } from '@azaion/kernel';
import { pseudoRandomBytes } from '@azaion/testing';

import { CHUNKING as STANDARD, type ChunkingParameters } from '../chunker.js';
import type { PackId } from '../pack.js';
import { type GrantAnswer, GrantApi, type PackUrl } from '../ports/grant-api.js';
import { InMemoryGrantApi } from '../testing/in-memory-admin-api.js';
import { InMemoryPackStore } from '../testing/in-memory-pack-store.js';
import { collect, RESOURCE, World } from '../testing/world.js';
import { refusal } from '../testing/refusal.js';

const CHUNK_BYTES = 1024;
const SEALED_BYTES = CHUNK_BYTES + 29;
const CHUNKS = 300;
const CHUNKING: ChunkingParameters = {
  ...STANDARD,
  minBytes: CHUNK_BYTES,
  averageBytes: CHUNK_BYTES,
  maxBytes: CHUNK_BYTES,
};
/** Chunks that the second version shares with the first: single ones, runs, and far apart as well as close together. */
const KEPT = [0, 1, 2, 9, 40, 150, 151, 199, 299];
const keptRanges = KEPT.map((index): ByteRange => ({ start: index * SEALED_BYTES, end: (index + 1) * SEALED_BYTES }));

/** Two versions, of which the second has a few chunks of the first; and the pack of both. */
async function sparseWorld(clock = new ManualClock(1_800_000_000_000)) {
  const world = await World.create({ chunking: CHUNKING, clock });
  const first = Buffer.from(pseudoRandomBytes('first', CHUNKS * CHUNK_BYTES));
  await world.publish(first);
  const second = Buffer.concat(KEPT.map((index) => first.subarray(index * CHUNK_BYTES, (index + 1) * CHUNK_BYTES)));
  await world.publish(second);
  const [key = ''] = world.objects.keys();
  expect(world.objects.keys()).toEqual([key]); // the second is nothing but chunks of the first
  const pack = { packId: key.slice(-32), sizeBytes: CHUNKS * SEALED_BYTES };
  const compact = (ranges = keptRanges): Promise<void> => world.admin.compactPack(pack, ranges);
  const removeOlder = (): void => world.objects.tamper(key, () => undefined);
  return { world, clock, first, second, key, pack, compact, removeOlder };
}

describe('a compacted pack', () => {
  it('opens as before on a device that has nothing, and moves less', async () => {
    const { world, second, compact, removeOlder } = await sparseWorld();
    await compact();
    removeOlder();
    expect((await world.fetch()).equals(second)).toBe(true);
    expect(world.source.sentBytes).toBe(KEPT.length * SEALED_BYTES); // not what lies between the chunks
    expect((await world.fetch()).equals(second)).toBe(true); // out of the pack store
    expect(world.source.sentBytes).toBe(KEPT.length * SEALED_BYTES);
  });

  it('opens on a device that has a part of the pack from before', async () => {
    const { world, first, second, compact, removeOlder } = await sparseWorld();
    const opened = await world.fetcher().run({ resource: RESOURCE, version: 1, recipient: world.recipient });
    const half = { start: 0, end: (CHUNKS / 2) * CHUNK_BYTES };
    expect((await collect(opened.read(half))).equals(first.subarray(0, half.end))).toBe(true);
    await compact();
    removeOlder();
    const before = world.source.sentBytes;
    expect((await world.fetch()).equals(second)).toBe(true);
    expect(world.source.sentBytes - before).toBe(4 * SEALED_BYTES); // those of the other half
  });

  it('is compacted again, and any range of a version opens', async () => {
    const { world, second, compact, removeOlder } = await sparseWorld();
    await compact([{ start: 0, end: 200 * SEALED_BYTES }, ...keptRanges]);
    await compact();
    removeOlder();
    for (const range of [
      { start: 0, end: 1 },
      { start: 100, end: 300 },
      { start: second.length - 1, end: second.length },
    ]) {
      const opened = await world
        .fetcher({ store: new InMemoryPackStore() })
        .run({ resource: RESOURCE, recipient: world.recipient });
      expect((await collect(opened.read(range))).equals(second.subarray(range.start, range.end))).toBe(true);
    }
  });

  it('reaches a reader that began before: by its URL while that is good, by a new one afterwards', async () => {
    const { world, clock, second, compact, removeOlder } = await sparseWorld();
    const open = () =>
      world.fetcher({ store: new InMemoryPackStore() }).run({ resource: RESOURCE, recipient: world.recipient });
    const [early, late] = [await open(), await open()];
    await compact();
    expect((await collect(early.read())).equals(second)).toBe(true);
    clock.advance(901_000); // its URL has ended
    removeOlder();
    expect((await collect(late.read())).equals(second)).toBe(true);
  });

  it('goes on with the object that a renewed URL leads to when the one before ended in the middle', async () => {
    const { world, clock, second, compact, removeOlder } = await sparseWorld();
    const opened = await world.fetcher().run({ resource: RESOURCE, recipient: world.recipient });
    const open = world.source.open.bind(world.source);
    let opens = 0;
    world.source.open = async (...call) => {
      const stream = await open(...call);
      if (++opens !== 1) return stream;
      // The first answer breaks off; by the next request the pack is compacted and the URL has ended.
      await compact();
      removeOlder();
      clock.advance(901_000);
      const [, range] = call;
      expect(range.end - range.start).toBeGreaterThan(100);
      const part = (stream.read() as Buffer).subarray(0, 50);
      stream.destroy();
      return Readable.from([part]);
    };
    expect((await collect(opened.read())).equals(second)).toBe(true);
    expect(opens).toBeGreaterThan(1);
  });

  it('gives a reader of a version that it was not kept for an error, never other bytes', async () => {
    const { world, compact } = await sparseWorld();
    await compact();
    await expect(world.fetch({}, 1)).rejects.toMatchObject(refusal('resource.integrity'));
  });

  it('is damaged where any byte of its object is', async () => {
    const { world, compact } = await sparseWorld();
    await compact();
    const [, object = ''] = world.objects.keys();
    world.objects.tamper(object, (bytes) => {
      bytes[5 * SEALED_BYTES] = (bytes[5 * SEALED_BYTES] ?? 0) ^ 1;
      return bytes;
    });
    await expect(world.fetch()).rejects.toMatchObject(refusal('resource.integrity'));
  });

  it('is cut short where its own object ends too early, and reported by a chunk that is lost', async () => {
    const { world, compact } = await sparseWorld();
    await compact();
    const [, object = ''] = world.objects.keys();
    world.objects.tamper(object, (bytes) => bytes.subarray(0, 6 * SEALED_BYTES + 10));
    const reported: number[] = [];
    const api = new InMemoryGrantApi(world.admin);
    api.reportBadChunk = (_resource, _version, chunk) => Promise.resolve(void reported.push(chunk));
    await expect(world.fetch({ api })).rejects.toMatchObject({
      ...refusal('cdn.missing'),
      cause: { code: 'pack.truncated' },
    });
    expect(reported).toHaveLength(1);
    expect(reported[0]).toBeGreaterThanOrEqual(6);
  });

  it('opens nothing else when the Admin API names the wrong extents', async () => {
    const { world, compact } = await sparseWorld();
    await compact();
    class Lying extends GrantApi {
      override grant(...call: Parameters<GrantApi['grant']>): Promise<GrantAnswer> {
        return world.grants.grant(...call);
      }
      override segment(...call: Parameters<GrantApi['segment']>): Promise<Uint8Array> {
        return world.grants.segment(...call);
      }
      override async packUrls(grantId: string, packIds: readonly PackId[]): Promise<readonly PackUrl[]> {
        const urls = await world.grants.packUrls(grantId, packIds);
        return urls.map((url) => ({
          ...url,
          compacted: { extents: [{ start: 0, end: 40 * SEALED_BYTES }], sha256: new Uint8Array(32) },
        }));
      }
    }
    await expect(world.fetch({ api: new Lying() })).rejects.toMatchObject({
      code: expect.stringMatching(/^(?:resource\.integrity|cdn\.)/) as string,
    });
  });

  it('is not taken for damaged by who looks at a report', async () => {
    const { world, second, compact, removeOlder } = await sparseWorld();
    await compact();
    removeOlder();
    await world.admin.reportBadChunk(RESOURCE, 2, KEPT.length - 1);
    expect((await world.publish(second)).created).toBe(false); // what turned out damaged would be published anew
  });
});
