import { hash, randomBytes } from 'node:crypto';
import { zstdCompressSync } from 'node:zlib';

import { chunkHash, deriveChunkKey, newRecipeKey, sealChunk } from '@azaion/crypto';
import { CHUNKING } from '../chunker.js';
import { RecipeBuilder } from '../recipe/recipe-builder.js';

import { proveSplit, type SplitEvidence, type SplitProof } from './prove-split.js';
import { openWithEverything } from './sealed-control.js';
import { type StoredBytes } from './stored-bytes.js';

const PLACE = {
  folderId: '11111111-1111-4111-8111-111111111111',
  resourceId: '22222222-2222-4222-8222-222222222222',
  version: 1,
};
const PACK_ID = 'ab'.repeat(16);
const CHUNK_BYTES = 50_000;

async function* stored(...items: StoredBytes[]): AsyncGenerator<StoredBytes> {
  for (const item of items) yield await Promise.resolve(item);
}

interface Published {
  readonly evidence: SplitEvidence;
  readonly plaintext: Buffer;
  readonly chunkKey: Buffer;
  readonly recipeKey: Buffer;
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
  return {
    plaintext,
    chunkKey: keys[0]!,
    recipeKey,
    evidence: {
      plaintexts: [{ bytes: plaintext }],
      objects: () => stored({ where: `packs/${PLACE.folderId}/${PACK_ID}`, bytes: pack }),
      rows: [...segments].map(([where, bytes]) => ({ where, bytes })),
      publicTexts: [],
      opened: [opened],
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
    expect(controls).toHaveLength(2);
    for (const { recovered } of controls) expect(recovered).toBeGreaterThan(0);
    const tried = proof.trials.filter(({ name }) => name.startsWith('the whole'));
    for (const { keyTrials, bytesSearched } of tried) {
      expect(keyTrials).toBeGreaterThan(500);
      expect(bytesSearched).toBeGreaterThan(0);
    }
  });

  it.each([
    ['as it is', (bytes: Buffer) => bytes],
    ['compressed', (bytes: Buffer) => zstdCompressSync(bytes)],
    ['in Base64', (bytes: Buffer) => Buffer.from(bytes.toString('base64'))],
  ])('falls when plaintext lies in the CDN %s', async (_how, write) => {
    const leak = write(published.plaintext.subarray(1000, 1200));
    expect(failed(await proveSplit(withObject(leak)))).toEqual(['the whole CDN, nothing else']);
  });

  it('falls when plaintext lies in the database', async () => {
    const leak = published.plaintext.subarray(1000, 1200);
    expect(failed(await proveSplit(withRow(leak)))).toEqual(['the whole database, nothing else']);
  });

  it('falls when a chunk key lies in the CDN', async () => {
    expect(failed(await proveSplit(withObject(published.chunkKey)))).toEqual(['the whole CDN, nothing else']);
  });

  it('falls when a chunk key lies unwrapped in the database', async () => {
    const leak = Buffer.from(JSON.stringify({ key: published.chunkKey.toString('base64url') }));
    expect(failed(await proveSplit(withRow(leak)))).toEqual(['both stores without the KEK']);
  });

  it('falls when a recipe key lies unwrapped in the database', async () => {
    const leak = Buffer.concat([randomBytes(7), published.recipeKey, randomBytes(7)]);
    expect(failed(await proveSplit(withRow(leak)))).toEqual(['the whole database, nothing else']);
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
