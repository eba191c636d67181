import { hash, randomBytes } from 'node:crypto';
import { zstdCompressSync } from 'node:zlib';

import { chunkHash, deriveChunkKey, type KeyPurpose, KekRing, newRecipeKey, sealChunk } from '@azaion/crypto';
import { CHUNKING } from '../chunker.js';
import { RecipeBuilder } from '../recipe/recipe-builder.js';

import { proveSplit, type SplitEvidence, type SplitProof } from './prove-split.js';
import { openWithEverything } from './sealed-control.js';
import type { StoredBytes } from './stored-bytes.js';
import type { WrappedSecret } from './wrapped-secret.js';

const PLACE = {
  folderId: '11111111-1111-4111-8111-111111111111',
  resourceId: '22222222-2222-4222-8222-222222222222',
  version: 1,
};
const PACK_ID = 'ab'.repeat(16);
const CHUNK_BYTES = 50_000;
const CDN = 'the whole CDN and what is public, nothing else';
const DATABASE = 'the whole database, nothing else';
const BOTH = 'both stores without the KEK';
const WITHOUT_CDN = 'database and KEK without the CDN';

async function* stored(...items: StoredBytes[]): AsyncGenerator<StoredBytes> {
  for (const item of items) yield await Promise.resolve(item);
}

interface Published {
  readonly evidence: SplitEvidence;
  readonly plaintext: Buffer;
  readonly chunkKey: Buffer;
  readonly chunkKeys: readonly Buffer[];
  readonly recipeKey: Buffer;
  readonly domainKey: Buffer;
  readonly kek: Buffer;
}

/** Both stores as one publish leaves them, made with the parts of the real format: three chunks, the last one compressed. */
async function publish(): Promise<Published> {
  const compressible = Buffer.from('The quick brown fox jumps over the lazy dog; '.repeat(1000));
  const plaintext = Buffer.concat([randomBytes(2 * CHUNK_BYTES), compressible]);
  const domainKey = randomBytes(32);
  const recipeKey = newRecipeKey();
  const segments = new Map<string, Uint8Array>();
  const builder = new RecipeBuilder(PLACE, recipeKey, CHUNKING, (kind, index, sealed) => {
    segments.set(`${kind}/${index}`, sealed);
    return Promise.resolve();
  });
  const sealedChunks: Buffer[] = [];
  const keys: Buffer[] = [];
  let offset = 0;
  for (let at = 0; at < plaintext.length; at += CHUNK_BYTES) {
    const chunk = plaintext.subarray(at, at + CHUNK_BYTES);
    const h = chunkHash(chunk);
    const key = deriveChunkKey(domainKey, h);
    const sealed = sealChunk(chunk, { h, key, plaintextBytes: chunk.length });
    const sealedBytes = sealed.length;
    await builder.add({ h, key, plaintextBytes: chunk.length, domain: 0, packIndex: 0, offset, sealedBytes });
    sealedChunks.push(sealed);
    keys.push(key);
    offset += sealedBytes;
  }
  const pack = Buffer.concat(sealedChunks);
  const packRef = { packId: PACK_ID, sizeBytes: pack.length, sha256: hash('sha256', pack, 'buffer') };
  const { rootHash } = await builder.finish([packRef], hash('sha256', plaintext, 'buffer'));
  const opened = await openWithEverything(
    { place: PLACE, rootHash, recipeKey, segment: (kind, index) => segments.get(`${kind}/${index}`)! },
    () => Promise.resolve(pack),
  );
  const kek = randomBytes(32);
  const ring = new KekRing([kek]);
  const wrap = async (where: string, purpose: KeyPurpose, secret: Uint8Array): Promise<WrappedSecret> => ({
    where,
    purpose,
    wrapped: await ring.wrap(purpose, where, secret),
    secret,
  });
  const wrapped = [await wrap('versions 1', 'recipe', recipeKey), await wrap('dedup_domains 0', 'folder', domainKey)];
  return {
    plaintext,
    chunkKey: keys[0]!,
    chunkKeys: keys,
    recipeKey,
    domainKey,
    kek,
    evidence: {
      plaintexts: [{ bytes: plaintext }],
      objects: () => stored({ where: `packs/${PLACE.folderId}/${PACK_ID}`, bytes: pack }),
      rows: [
        ...[...segments].map(([where, bytes]) => ({ where, bytes })),
        ...wrapped.map(({ where, wrapped: bytes }) => ({ where, bytes })),
      ],
      publicMetadata: [{ where: 'statement', bytes: Buffer.from('e30.eyJmb2xkZXIiOiJtb2RlbHMifQ.c2ln') }],
      publicTexts: [],
      opened: [opened],
      wrapped,
      keks: [kek],
    },
  };
}

function failed(proof: SplitProof): string[] {
  expect(proof.ok).toBe(proof.trials.every(({ ok }) => ok));
  return proof.trials.filter(({ ok }) => !ok).map(({ name }) => name);
}

describe('proveSplit', () => {
  let published: Published;
  beforeEach(async () => {
    published = await publish();
  });

  const withObject = (bytes: Uint8Array): SplitEvidence => ({
    ...published.evidence,
    objects: async function* () {
      yield* published.evidence.objects();
      yield { where: 'leak', bytes };
    },
  });
  const withRow = (bytes: Uint8Array): SplitEvidence => ({
    ...published.evidence,
    rows: [...published.evidence.rows, { where: 'leak', bytes }],
  });

  it('holds for the format: attacks recover nothing, controls everything', async () => {
    const proof = await proveSplit(published.evidence);
    expect(failed(proof)).toEqual([]);
    const controls = proof.trials.filter(({ kind }) => kind === 'control');
    expect(controls).toHaveLength(3);
    for (const { recovered } of controls) expect(recovered).toBeGreaterThan(0);
    const tried = proof.trials.filter(({ name }) => name.startsWith('the whole'));
    for (const { keyTrials, bytesSearched } of tried) {
      expect(keyTrials).toBeGreaterThan(500);
      expect(bytesSearched).toBeGreaterThan(0);
    }
    expect(proof.trials.find(({ name }) => name === WITHOUT_CDN)).toMatchObject({
      keys: 3,
      recovered: 0,
      detail: '3 keys found, 0 bytes of content; a right guess is confirmed, a wrong one is not',
    });
  });

  it.each([
    ['as it is', (bytes: Buffer) => bytes],
    ['compressed', (bytes: Buffer) => zstdCompressSync(bytes)],
    ['in Base64', (bytes: Buffer) => Buffer.from(bytes.toString('base64'))],
  ])('falls when plaintext lies in the CDN %s', async (_how, write) => {
    const leak = write(published.plaintext.subarray(1000, 1200));
    expect(failed(await proveSplit(withObject(leak)))).toEqual([CDN]);
  });

  it('falls when plaintext lies in the database', async () => {
    const leak = published.plaintext.subarray(1000, 1200);
    expect(failed(await proveSplit(withRow(leak)))).toEqual([DATABASE]);
  });

  it('falls when a chunk key lies in the CDN', async () => {
    expect(failed(await proveSplit(withObject(published.chunkKey)))).toEqual([CDN]);
  });

  it('falls when a chunk key lies unwrapped in the database', async () => {
    const leak = Buffer.from(JSON.stringify({ key: published.chunkKey.toString('base64url') }));
    expect(failed(await proveSplit(withRow(leak)))).toEqual([BOTH]);
  });

  it('falls when a recipe key lies unwrapped in the database', async () => {
    const leak = Buffer.concat([randomBytes(7), published.recipeKey, randomBytes(7)]);
    expect(failed(await proveSplit(withRow(leak)))).toEqual([DATABASE]);
  });

  it.each([
    ['as it is', (kek: Buffer) => kek],
    ['as a line of the key file', (kek: Buffer) => Buffer.from(`{"file":"${kek.toString('base64url')}\\n"}`)],
    ['in hexadecimal, behind a word', (kek: Buffer) => Buffer.from(`kek ${kek.toString('hex')}`)],
  ])('falls when the KEK lies in the database %s', async (_how, write) => {
    expect(failed(await proveSplit(withRow(write(published.kek))))).toEqual([DATABASE]);
  });

  it('falls when a dedup key lies unwrapped in the database: it tells guesses of content apart', async () => {
    expect(failed(await proveSplit(withRow(published.domainKey)))).toEqual([BOTH]);
  });

  it('falls when a chunk key stands in what is public', async () => {
    const leak = { where: 'statement 2', bytes: Buffer.from(published.chunkKey.toString('base64url')) };
    const publicMetadata = [...published.evidence.publicMetadata, leak];
    expect(failed(await proveSplit({ ...published.evidence, publicMetadata }))).toEqual([CDN]);
  });

  it('falls when plaintext stands in what is public', async () => {
    const leak = { where: 'statement 2', bytes: published.plaintext.subarray(1000, 1200) };
    const publicMetadata = [...published.evidence.publicMetadata, leak];
    expect(failed(await proveSplit({ ...published.evidence, publicMetadata }))).toEqual([CDN]);
  });

  it('finds a key anywhere in a short object, and at either end of a long one', async () => {
    const [short, first, last] = published.chunkKeys as [Buffer, Buffer, Buffer];
    const objects = [
      Buffer.concat([randomBytes(9000), short, randomBytes(6000)]),
      Buffer.concat([randomBytes(4064), first, randomBytes(90_000)]),
      Buffer.concat([randomBytes(90_000), last, randomBytes(4064)]),
    ];
    const { trials } = await proveSplit({
      ...published.evidence,
      objects: () => stored(...objects.map((bytes, index) => ({ where: `leak ${index}`, bytes }))),
    });
    expect(trials[0]).toMatchObject({ name: CDN, ok: false, recovered: 3 });
  });

  it('is no proof when the KEK does not open what it is said to have wrapped, or nothing is wrapped', async () => {
    const control = ['control: the KEK, tried like any other key'];
    expect(failed(await proveSplit({ ...published.evidence, keks: [randomBytes(32)] }))).toEqual(control);
    expect(failed(await proveSplit({ ...published.evidence, wrapped: [] }))).toEqual(control);
  });

  it('is no proof when the recipes name no keys, or their hashes do not tell guesses apart', async () => {
    const [version] = published.evidence.opened;
    const without = { ...version!, chunks: [] };
    expect(failed(await proveSplit({ ...published.evidence, opened: [without] }))).toEqual([WITHOUT_CDN]);
    const untold = { ...version!, chunks: version!.chunks.map((chunk) => ({ ...chunk, h: randomBytes(32) })) };
    expect(failed(await proveSplit({ ...published.evidence, opened: [untold] }))).toEqual([WITHOUT_CDN]);
  });

  it('does not count what is public as a find', async () => {
    const known = published.plaintext.subarray(0, 3200);
    const proof = await proveSplit({ ...withRow(known), publicTexts: [known] });
    expect(failed(proof)).toEqual([]);
  });

  it('is no proof when a control does not recover what was published', async () => {
    const other = { bytes: randomBytes(10_000) };
    expect(failed(await proveSplit({ ...published.evidence, plaintexts: [other] }))).toContain(
      'control: both stores and the KEK',
    );
  });
});
