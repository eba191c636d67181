import { randomBytes, randomUUID } from 'node:crypto';

import { pseudoRandomBytes } from '@azaion/testing';

import { CHUNKING } from './chunker.js';
import { ResourceError } from './errors.js';
import { collect, RESOURCE, TINY, World } from './testing/world.js';

const { minBytes, averageBytes, maxBytes } = CHUNKING;
const SEALED_TINY_BYTES = 64 + 29;

describe('a resource that was published and fetched', () => {
  it.each([0, 1, minBytes - 1, minBytes, minBytes + 1, averageBytes, maxBytes - 1, maxBytes, maxBytes + 1, 5_000_000])(
    'has the same %i bytes',
    async (sizeBytes) => {
      const world = await World.create();
      const content = randomBytes(sizeBytes);
      expect(await world.publish(content)).toMatchObject({ version: 1, created: true, bytes: sizeBytes });
      expect((await world.fetch()).equals(content)).toBe(true);
      expect((await world.fetch()).equals(content)).toBe(true);
    },
  );

  it.each([1, 4095, 4096, 4097])('has the same bytes in %i chunks', async (chunks) => {
    const world = await World.create({ chunking: TINY });
    const content = randomBytes(chunks * 64);
    await world.publish(content);
    expect((await world.fetch()).equals(content)).toBe(true);
    const read = new Set(world.admin.segmentsRead.filter((part) => part.startsWith('chunks/')));
    expect(read.size).toBe(Math.ceil(chunks / 4096));
  });

  it.each([
    ['one byte below the border of a pack', 10 * SEALED_TINY_BYTES + 1, 3],
    ['exactly at the border of a pack', 10 * SEALED_TINY_BYTES, 3],
    ['one byte above the border of a pack', 10 * SEALED_TINY_BYTES - 1, 3],
  ])('has the same bytes in several packs, with a chunk that ends %s', async (_, packTargetBytes, packs) => {
    const world = await World.create({ chunking: TINY, packTargetBytes });
    const content = randomBytes(64 * 30);
    await world.publish(content);
    expect(world.objects.keys()).toHaveLength(packs);
    expect((await world.fetch()).equals(content)).toBe(true);
  });

  it('reads more packs than one call for URLs may name', async () => {
    const world = await World.create({ chunking: TINY, packTargetBytes: SEALED_TINY_BYTES });
    const content = randomBytes(64 * 200);
    await world.publish(content);
    expect(world.objects.keys()).toHaveLength(200);
    expect((await world.fetch()).equals(content)).toBe(true);
  });

  it('stores repeated content once', async () => {
    const world = await World.create();
    // Where chunks end depends on the bytes, and so does how soon borders are found again: the same bytes at every run.
    const block = pseudoRandomBytes('repeated', 2_000_000);
    const content = Buffer.concat([block, block, block, Buffer.alloc(3_000_000)]);
    const result = await world.publish(content);
    expect(result.uploadedBytes).toBeLessThan(3_000_000);
    expect(result.dedupedBytes).toBeGreaterThan(5_000_000);
    expect((await world.fetch()).equals(content)).toBe(true);
  });

  it('moves a few chunks for a small change, both ways', async () => {
    const world = await World.create();
    const first = pseudoRandomBytes('large', 20 * 1024 * 1024);
    await world.publish(first);
    await world.fetch();
    const sentBefore = world.source.sentBytes;
    const second = Buffer.concat([
      first.subarray(0, 9_000_000),
      pseudoRandomBytes('small', 1000),
      first.subarray(9_000_000),
    ]);
    const result = await world.publish(second);
    expect(result).toMatchObject({ version: 2, created: true });
    expect(result.uploadedBytes).toBeLessThan(3 * maxBytes);
    expect((await world.fetch()).equals(second)).toBe(true);
    expect(world.source.sentBytes - sentBefore).toBe(result.uploadedBytes);
    expect((await world.fetch({}, 1)).equals(first)).toBe(true);
  });

  it('makes no new version of identical bytes', async () => {
    const world = await World.create();
    const content = randomBytes(1_000_000);
    await world.publish(content);
    expect(await world.publish(content)).toMatchObject({ version: 1, created: false, uploadedBytes: 0 });
  });

  it('makes a version of what another publisher claims to have published', async () => {
    const world = await World.create();
    const content = randomBytes(1000);
    await world.publish(content);
    world.admin.publisher = randomUUID();
    expect(await world.publish(content)).toMatchObject({ version: 2, created: true });
  });

  it('opens any range, touching only the segments and packs that cover it', async () => {
    const world = await World.create({ chunking: TINY, packTargetBytes: 1000 * SEALED_TINY_BYTES });
    const content = randomBytes(64 * 8200);
    await world.publish(content);
    const opened = await world.fetcher().run({ resource: RESOURCE, recipient: world.recipient });
    await collect(opened.read({ start: 64 * 5000, end: 64 * 5000 + 1 }));
    expect(world.admin.segmentsRead.toSorted()).toEqual(['chunks/1', 'packs/0', 'root/0']);
    expect(world.source.sentBytes).toBe(SEALED_TINY_BYTES);
    for (const [start, end] of [
      [500_001, 500_002],
      [64 * 4096 - 1, 64 * 4096 + 1],
      [64 * 8192, 64 * 8192 + 64],
      [0, 0],
      [77, 77],
      [content.length, content.length],
      [0, 1],
      [content.length - 1, content.length],
      [100, 300_000],
    ] as const)
      expect((await collect(opened.read({ start, end }))).equals(content.subarray(start, end))).toBe(true);
  });

  it.each([
    [-1, 5],
    [5, 4],
    [0, 101],
    [101, 101],
    [0.5, 2],
  ])('refuses the range %d to %d of 100 bytes', async (start, end) => {
    const world = await World.create();
    await world.publish(randomBytes(100));
    const opened = await world.fetcher().run({ resource: RESOURCE, recipient: world.recipient });
    expect(() => opened.read({ start, end })).toThrow(
      new ResourceError('resource.range-invalid', 'The range lies outside of the 100 bytes of this version.'),
    );
  });
});
