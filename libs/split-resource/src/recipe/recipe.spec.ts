import { hash, randomBytes, randomUUID } from 'node:crypto';

import { CryptoError, DRAFT_VERSION, newRecipeKey, type SegmentKind, sealSegment } from '@azaion/crypto';
import { decode, encode } from 'cborg';
import fc from 'fast-check';

import { CHUNKING } from '../chunker.js';
import { ResourceError } from '../errors.js';
import type { PackRef } from '../pack.js';
import { type ChunkRecord, ChunkSegment } from './chunk-segment.js';
import { CHUNK_RECORD_BYTES, PACK_RECORD_BYTES } from './limits.js';
import { PackSegment } from './pack-segment.js';
import { Recipe, type SegmentReader, verifyRecipe } from './recipe.js';
import { RecipeBuilder } from './recipe-builder.js';
import { segmentPlace } from './recipe-place.js';
import { decodeRoot, encodeRoot, type RecipeRoot } from './recipe-root.js';
import { resealRecipe } from './reseal-recipe.js';
import { refusal } from '../testing/refusal.js';

const place = { folderId: randomUUID(), resourceId: randomUUID(), version: DRAFT_VERSION };
const recipeKey = newRecipeKey();
const SEALED_BYTES = 129;

function record(changed: Partial<ChunkRecord> = {}): ChunkRecord {
  return {
    h: randomBytes(32),
    key: randomBytes(32),
    plaintextBytes: 100,
    domain: 7,
    packIndex: 0,
    offset: 0,
    sealedBytes: SEALED_BYTES,
    ...changed,
  };
}

function pack(sizeBytes: number): PackRef {
  return { packId: randomBytes(16).toString('hex'), sizeBytes, sha256: randomBytes(32) };
}

function readerOf(parts: ReadonlyMap<string, Uint8Array>): SegmentReader {
  return (kind, index) => Promise.resolve(parts.get(`${kind}/${index}`) ?? new Uint8Array(0));
}

async function draftOf(
  records: readonly ChunkRecord[],
  packs: readonly PackRef[],
): Promise<{ draft: Recipe; parts: Map<string, Uint8Array> }> {
  const parts = new Map<string, Uint8Array>();
  const builder = new RecipeBuilder(place, recipeKey, CHUNKING, (kind, index, sealed) => {
    parts.set(`${kind}/${index}`, sealed);
    return Promise.resolve();
  });
  for (const one of records) await builder.add(one);
  await builder.finish(packs, randomBytes(32));
  return { draft: await Recipe.open(place, recipeKey, readerOf(parts), undefined), parts };
}

function inOnePack(chunks: number): { records: ChunkRecord[]; packs: PackRef[] } {
  const records = Array.from({ length: chunks }, (_, index) => record({ offset: index * SEALED_BYTES }));
  return { records, packs: chunks === 0 ? [] : [pack(chunks * SEALED_BYTES)] };
}

describe('a recipe', () => {
  it.each([0, 1, 2, 4095, 4096, 4097, 8192])(
    'of %i chunks reads as it was built, also after it was sealed anew',
    async (chunks) => {
      const { records, packs } = inOnePack(chunks);
      const { draft } = await draftOf(records, packs);
      const sealed = new Map<string, Uint8Array>();
      const anew = await resealRecipe(draft, 3, (kind, index, bytes) => {
        sealed.set(`${kind}/${index}`, bytes);
        return Promise.resolve();
      });
      expect(anew.rootHash).toBe(hash('sha256', sealed.get('root/0')!));
      const final = await Recipe.open({ ...place, version: 3 }, anew.recipeKey, readerOf(sealed), anew.rootHash);
      for (const recipe of [draft, final]) {
        expect(recipe.root).toMatchObject({ totalBytes: chunks * 100, chunks, packs: packs.length });
        let at = 0;
        const seenPacks: string[] = [];
        await verifyRecipe(recipe, {
          pack: ({ packId }) => void seenPacks.push(packId),
          chunks: (segment) => {
            for (let index = 0; index < segment.count; index++, at++) {
              const expected = records[at]!;
              const same =
                Buffer.from(segment.h(index)).equals(expected.h) &&
                Buffer.from(segment.key(index)).equals(expected.key) &&
                segment.domain(index) === 7 &&
                segment.offset(index) === expected.offset;
              if (!same) throw new Error(`record ${at} differs`);
            }
          },
        });
        expect(at).toBe(chunks);
        expect(seenPacks).toEqual(packs.map(({ packId }) => packId));
      }
    },
  );

  it('opens in its own place only', async () => {
    const { records, packs } = inOnePack(2);
    const { parts } = await draftOf(records, packs);
    for (const other of [
      { ...place, version: 1 },
      { ...place, folderId: randomUUID() },
      { ...place, resourceId: randomUUID() },
    ])
      await expect(Recipe.open(other, recipeKey, readerOf(parts), undefined)).rejects.toMatchObject(
        refusal('segment.invalid'),
      );
    await expect(Recipe.open(place, newRecipeKey(), readerOf(parts), undefined)).rejects.toMatchObject(
      refusal('segment.invalid'),
    );
  });

  it('refuses segments that were exchanged', async () => {
    const { records, packs } = inOnePack(8192);
    const { draft, parts } = await draftOf(records, packs);
    const first = parts.get('chunks/0')!;
    parts.set('chunks/0', parts.get('chunks/1')!);
    parts.set('chunks/1', first);
    await expect(draft.chunkSegment(0)).rejects.toMatchObject(refusal('resource.integrity'));
    await expect(draft.chunkSegment(2)).rejects.toThrow(RangeError);
  });

  it('refuses a place that is not a UUID', () => {
    expect(() => segmentPlace({ ...place, folderId: 'x' }, 'root', 0, true)).toThrow(RangeError);
  });
});

describe('verifyRecipe', () => {
  const refused = async (records: readonly ChunkRecord[], packs: readonly PackRef[]): Promise<void> => {
    const { draft } = await draftOf(records, packs);
    await expect(verifyRecipe(draft)).rejects.toMatchObject(refusal('recipe.invalid'));
  };

  it('accepts one entry that is repeated', async () => {
    const one = record();
    const { draft } = await draftOf([one, one, one], [pack(SEALED_BYTES)]);
    await verifyRecipe(draft);
  });

  it.each([
    ['a chunk that ends one byte behind its pack', [record({ offset: 1 })], [pack(SEALED_BYTES)]],
    ['chunks that overlap by one byte', [record(), record({ offset: SEALED_BYTES - 1 })], [pack(1000)]],
    ['one offset with two lengths', [record(), record({ sealedBytes: SEALED_BYTES - 1 })], [pack(1000)]],
    ['a pack index behind the table', [record({ packIndex: 1 })], [pack(1000)]],
    ['a pack that holds nothing', [record(), record({ offset: 200 })], [pack(1000), pack(1000)]],
    ['a sealed chunk that is too short', [record({ sealedBytes: 29 })], [pack(1000)]],
    ['a sealed chunk that is too long', [record({ sealedBytes: 130 })], [pack(1000)]],
    ['a pack of size 0', [record()], [pack(0)]],
    ['a pack that is too large', [record()], [pack(33 * 1024 * 1024 + 1)]],
    ['an offset outside of any pack', [record({ offset: 0xffff_ffff })], [pack(1000)]],
  ])('refuses %s', async (_, records, packs) => refused(records, packs));

  it('refuses a chunk of a length out of bounds, already in its root', async () => {
    for (const plaintextBytes of [0, CHUNKING.maxBytes + 1])
      await expect(
        draftOf([record({ plaintextBytes })], [pack(1000)]).then(({ draft }) => verifyRecipe(draft)),
      ).rejects.toMatchObject(refusal('recipe.invalid'));
  });

  it('refuses a pack that is named twice', async () => {
    const one = pack(1000);
    await refused([record(), record({ packIndex: 1, offset: 200 })], [one, one]);
  });
});

describe('decodeRoot', () => {
  const good: RecipeRoot = {
    chunking: CHUNKING,
    totalBytes: 200,
    sha256: randomBytes(32),
    chunks: 2,
    packs: 1,
    chunkSegmentHashes: [randomBytes(32)],
    packSegmentHashes: [randomBytes(32)],
    chunkSegmentBytes: [200],
  };
  const membersOf = (): Map<number, unknown> => decode(encodeRoot(good), { useMaps: true }) as Map<number, unknown>;

  it('reads what was written', () => {
    expect(decodeRoot(encodeRoot(good))).toMatchObject({ totalBytes: 200, chunks: 2, packs: 1 });
  });

  it('names the version that is needed for another format', () => {
    for (const version of [1, 3, 4_000_000]) {
      const other = encode(new Map([[1, version]]));
      expect(() => decodeRoot(other)).toThrow(
        new ResourceError(
          'resource.unsupported-format',
          `This resource uses format version ${version}; this release reads version 2. Update to a release that reads version ${version}.`,
        ),
      );
    }
  });

  it.each<[string, number, unknown]>([
    ['no format version', 1, undefined],
    ['a format version that is a text', 1, '2'],
    ['no chunking parameters', 2, 7],
    ['chunking parameters out of order', 2, ['x', 5, 4, 6]],
    ['chunks longer than anyone accepts', 2, ['x', 5, 6, 524_289]],
    ['an algorithm that is not a name', 2, ['x y', 5, 6, 7]],
    ['one chunking parameter too many', 2, ['x', 5, 6, 7, 8]],
    ['another total', 3, 201],
    ['a negative total', 3, -1],
    ['a total that is no integer', 3, 1.5],
    ['a total beyond all limits', 3, 2 ** 44],
    ['a short digest', 4, new Uint8Array(31)],
    ['too few chunks for their segments', 5, 0],
    ['more chunks than bytes', 5, 201],
    ['more packs than chunks', 6, 3],
    ['no packs', 6, 0],
    ['a list of hashes that is none', 7, 5],
    ['a missing segment hash', 7, []],
    ['one segment hash too many', 8, [new Uint8Array(32), new Uint8Array(32)]],
    ['lengths that do not add up', 9, [199]],
    ['a length too many', 9, [100, 100]],
  ])('refuses %s', (_, member, value) => {
    const members = membersOf();
    if (value === undefined) members.delete(member);
    else members.set(member, value);
    expect(() => decodeRoot(encode(members))).toThrow(ResourceError);
  });

  it('refuses unknown members, other encodings and trailing bytes', () => {
    const bytes = encodeRoot(good);
    const longer = membersOf().set(10, 1);
    const longHead = Buffer.concat([Buffer.from([0xb8, 9]), bytes.subarray(1)]);
    for (const bad of [
      encode(longer),
      longHead,
      Buffer.concat([bytes, Buffer.from([0])]),
      bytes.subarray(0, -1),
      encode([1]),
      new Uint8Array(2_000_000),
    ])
      expect(() => decodeRoot(bad)).toThrow(ResourceError);
  });

  it('answers any bytes with a coded error or a root', () => {
    const base = encodeRoot(good);
    const changes = fc.array(fc.tuple(fc.nat(base.length - 1), fc.nat(255)), { minLength: 1, maxLength: 6 });
    const mutated = changes.map((list) => {
      const bytes = new Uint8Array(base);
      for (const [at, value] of list) bytes[at] = value;
      return bytes;
    });
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 300 }), mutated), (bytes) => {
        try {
          expect(encodeRoot(decodeRoot(bytes))).toHaveLength(bytes.length);
        } catch (error) {
          expect(error).toBeInstanceOf(ResourceError);
        }
      }),
      { numRuns: 1000 },
    );
  });
});

describe('segments', () => {
  it('answer any bytes with a coded error or a segment', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 3 }),
        fc.uint8Array({ maxLength: 4 * CHUNK_RECORD_BYTES }),
        (count, bytes) => {
          const attempts = [
            () => ChunkSegment.parse(bytes, { count, plaintextBytes: 100, packs: 1, maxChunkBytes: 1000 }),
            () => PackSegment.parse(bytes.subarray(0, count * PACK_RECORD_BYTES), count),
          ];
          for (const attempt of attempts) {
            try {
              expect(attempt().count).toBe(count);
            } catch (error) {
              expect(error).toBeInstanceOf(ResourceError);
            }
          }
        },
      ),
    );
  });

  it('are refused when they were sealed as something else', async () => {
    const { records, packs } = inOnePack(1);
    const { parts } = await draftOf(records, packs);
    const kinds: SegmentKind[] = ['chunks', 'packs'];
    for (const kind of kinds) {
      const asRoot = new Map(parts).set('root/0', parts.get(`${kind}/0`)!);
      await expect(Recipe.open(place, recipeKey, readerOf(asRoot), undefined)).rejects.toThrow(CryptoError);
    }
    const garbage = sealSegment(randomBytes(50), recipeKey, segmentPlace(place, 'root', 0, true));
    const bad = new Map(parts).set('root/0', garbage);
    await expect(Recipe.open(place, recipeKey, readerOf(bad), undefined)).rejects.toThrow(ResourceError);
  });
});
