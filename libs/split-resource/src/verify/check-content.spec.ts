import { createCipheriv, randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';

import { openRecipeKey, verifyStatement } from '@azaion/crypto';
import type { ByteRange } from '@azaion/kernel';
import fc from 'fast-check';

import { packObjectKey } from '../pack.js';
import { Recipe } from '../recipe/recipe.js';
import type { InMemoryObjectStore } from '../testing/in-memory-object-store.js';
import { RESOURCE, TINY, World } from '../testing/world.js';
import { CheckContent, type CheckedChunk } from './check-content.js';
import { refusal } from '../testing/refusal.js';

/** A version as the Admin API itself can open it. */
async function stored(world: World, content: Buffer): Promise<Recipe> {
  await world.publish(content);
  const request = { resource: RESOURCE, version: undefined, recipientPoint: world.recipient.point, nonce: 'n' };
  const { grantId, statement: jws, grantToken, sealedRecipeKey } = await world.grants.grant(request);
  const statement = await verifyStatement(jws, await world.admin.statementKeys());
  const { folderId, resourceId, version, rootHash } = statement;
  const { point, ecdh } = world.recipient;
  const key = await openRecipeKey(sealedRecipeKey, point, ecdh, grantToken, rootHash);
  const place = { folderId, resourceId, version };
  return Recipe.open(place, key, (kind, index, most) => world.grants.segment(grantId, kind, index, most), rootHash);
}

async function check(objects: InMemoryObjectStore, recipe: Recipe): Promise<{ sound: boolean; found: CheckedChunk[] }> {
  const found: CheckedChunk[] = [];
  const sound = await new CheckContent(objects).run(recipe, {
    chunks: (checked) => {
      found.push(...checked);
      return Promise.resolve();
    },
  });
  return { sound, found };
}

describe('CheckContent', () => {
  it('says nothing of a codec that only a later release knows', async () => {
    const world = await World.create({ chunking: TINY, packTargetBytes: 100_000 });
    const plaintext = randomBytes(64);
    const recipe = await stored(world, plaintext);
    const { h, key } = (await recipe.chunkSegment(0)).secrets(0);
    const codec = Uint8Array.of(7);
    const nonce = randomBytes(12);
    const cipher = createCipheriv('aes-256-gcm', key, nonce);
    cipher.setAAD(Buffer.concat([Buffer.from('azaion-chunk-v2'), codec, h, Uint8Array.of(0, 0, 0, 64)]));
    const sealed = Buffer.concat([codec, nonce, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
    world.objects.tamper(world.objects.keys()[0] ?? '', () => sealed);
    const refusal = { code: 'chunk.unsupported-codec', details: { codec: 7 } };
    await expect(check(world.objects, recipe)).rejects.toMatchObject(refusal);
    await expect(new CheckContent(world.objects).chunk(recipe, 0)).rejects.toMatchObject(refusal);
  });

  it.each([0, 1, 64, 65, 6400])('passes %i bytes as they were published, each chunk once', async (n) => {
    const world = await World.create({ chunking: TINY, packTargetBytes: 100_000 });
    const { sound, found } = await check(world.objects, await stored(world, randomBytes(n)));
    expect(sound).toBe(true);
    expect(found).toHaveLength(Math.ceil(n / 64));
    expect(found.every(({ good }) => good)).toBe(true);
  });

  it('finds any single flipped bit of a pack, and only the chunk in which it lies', async () => {
    const world = await World.create({ chunking: TINY, packTargetBytes: 2000 });
    const recipe = await stored(world, randomBytes(64 * 40));
    const keys = world.objects.keys();
    await fc.assert(
      fc.asyncProperty(fc.nat(keys.length - 1), fc.nat(), fc.nat(7), async (which, position, bit) => {
        const key = keys[which] ?? '';
        let at = 0;
        const flip = (bytes: Uint8Array): Uint8Array => {
          at = position % bytes.length;
          bytes[at] = (bytes[at] ?? 0) ^ (1 << bit);
          return bytes;
        };
        world.objects.tamper(key, flip);
        const { sound, found } = await check(world.objects, recipe);
        world.objects.tamper(key, flip);
        expect(sound).toBe(false);
        const bad = found.filter(({ good }) => !good);
        expect(bad).toHaveLength(1);
        const [{ packId, offset, sealedBytes }] = bad as [CheckedChunk];
        expect(packObjectKey(recipe.place.folderId, packId)).toBe(key);
        expect(offset <= at && at < offset + sealedBytes).toBe(true);
      }),
      { numRuns: 40 },
    );
  });

  it('forgives damage on the way: what does not open is read once more', async () => {
    const world = await World.create({ chunking: TINY });
    const recipe = await stored(world, randomBytes(640));
    const read = world.objects.read.bind(world.objects);
    let reads = 0;
    world.objects.read = async (key: string, range: ByteRange) => {
      const parts: Buffer[] = [];
      for await (const part of await read(key, range)) parts.push(Buffer.from(part as Uint8Array));
      const bytes = Buffer.concat(parts);
      if (reads++ === 0) bytes[100] = (bytes[100] ?? 0) ^ 1;
      return Readable.from([bytes]);
    };
    expect((await check(world.objects, recipe)).sound).toBe(true);
    expect(reads).toBe(2);
  });

  it.each([
    ['short', (bytes: Buffer) => [bytes.subarray(1)]],
    ['long', (bytes: Buffer) => [bytes, Buffer.of(0)]],
  ])('says cdn.unavailable of a %s answer: nothing is known then', async (_name, change) => {
    const world = await World.create({ chunking: TINY });
    const recipe = await stored(world, randomBytes(640));
    world.objects.read = (_key, range) => Promise.resolve(Readable.from(change(Buffer.alloc(range.end - range.start))));
    await expect(check(world.objects, recipe)).rejects.toMatchObject(refusal('cdn.unavailable'));
  });

  it('gives way after every chunk, and ends when it is told to', async () => {
    const world = await World.create({ chunking: TINY });
    const recipe = await stored(world, randomBytes(640));
    let breaths = 0;
    const run = new CheckContent(world.objects).run(recipe, {
      chunks: () => Promise.resolve(),
      breathe: () => (++breaths === 4 ? Promise.reject(new Error('enough')) : Promise.resolve()),
    });
    await expect(run).rejects.toThrow('enough');
    expect(breaths).toBe(4);
  });

  it('goes through every segment of a recipe, opens a single chunk by its index, and knows which there are', async () => {
    const world = await World.create({ chunking: TINY });
    const recipe = await stored(world, randomBytes(64 * 4098));
    expect(await check(world.objects, recipe)).toMatchObject({ sound: true, found: { length: 4098 } });
    const content = new CheckContent(world.objects);
    for (const index of [0, 4095, 4096, 4097]) expect(await content.chunk(recipe, index)).toMatchObject({ good: true });
    for (const index of [-1, 4098, 0.5, Number.MAX_SAFE_INTEGER])
      expect(await content.chunk(recipe, index)).toBeUndefined();
    const [key = ''] = world.objects.keys();
    world.objects.tamper(key, () => undefined);
    expect(await content.chunk(recipe, 0)).toMatchObject({ good: false });
  });
});
