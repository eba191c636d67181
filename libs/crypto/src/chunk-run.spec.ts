import { randomBytes } from 'node:crypto';

import { openChunkRun, type OpenedRun, plaintextBytesOf, type SealedPlace } from './chunk-run.js';
import { identifyChunk } from './chunk-identity.js';
import { sealChunk } from './sealed-chunk.js';

const domainKey = randomBytes(32);

interface Run {
  readonly bytes: Buffer;
  readonly chunks: SealedPlace[];
  readonly plaintext: Buffer;
}

/** Sealed chunks one after another; every third one is compressed. */
function runOf(sizes: readonly number[]): Run {
  const chunks: SealedPlace[] = [];
  const sealed: Buffer[] = [];
  const plaintexts = sizes.map((size, index) => (index % 3 === 2 ? Buffer.alloc(size, index) : randomBytes(size)));
  let at = 0;
  for (const plaintext of plaintexts) {
    const { h, key, plaintextBytes } = identifyChunk(plaintext, domainKey);
    const bytes = sealChunk(plaintext, { h, key, plaintextBytes });
    chunks.push({ at, sealedBytes: bytes.length, secrets: { h, key, plaintextBytes } });
    sealed.push(bytes);
    at += bytes.length;
  }
  return { bytes: Buffer.concat(sealed), chunks, plaintext: Buffer.concat(plaintexts) };
}

/** A chunk whose tag is right and whose plaintext is another one: what a reader can forge who holds its key. */
function forged(place: SealedPlace): Buffer {
  const { h, key, plaintextBytes } = place.secrets;
  return sealChunk(randomBytes(plaintextBytes), { h, key, plaintextBytes });
}

function open(bytes: Uint8Array, chunks: readonly SealedPlace[]): OpenedRun & { readonly target: Buffer } {
  const target = Buffer.alloc(plaintextBytesOf(chunks) + 10);
  return { ...openChunkRun(bytes, chunks, target), target };
}

describe('openChunkRun', () => {
  it.each([
    [[]],
    [[1]],
    [[1, 2]],
    [[40_000, 1, 524_288]],
    [Array.from({ length: 40 }, (_, index) => 1 + 3001 * index)],
  ])('opens runs of the sizes %j', (sizes) => {
    const { bytes, chunks, plaintext } = runOf(sizes);
    const opened = open(bytes, chunks);
    expect(opened.refusal).toBeUndefined();
    expect(opened.count).toBe(sizes.length);
    expect(Buffer.from(opened.plaintext).equals(plaintext)).toBe(true);
  });

  it.each([0, 1, 2, 5])('stops at chunk %i when a bit of it is flipped', (bad) => {
    const { bytes, chunks, plaintext } = runOf([5000, 6000, 7000, 8000, 9000, 10_000]);
    const { at, sealedBytes } = chunks[bad]!;
    bytes[at + sealedBytes - 20]! ^= 1;
    const goodBytes = [0, 5000, 11_000, 18_000, 26_000, 35_000][bad]!;
    const { plaintext: opened, count, refusal, target } = open(bytes, chunks);
    expect(refusal).toMatchObject({ code: 'chunk.invalid' });
    expect(count).toBe(bad);
    expect(Buffer.from(opened).equals(plaintext.subarray(0, goodBytes))).toBe(true);
    expect(target.subarray(goodBytes).every((byte) => byte === 0)).toBe(true); // nothing of what did not open
  });

  it.each([0, 1, 3])('stops at chunk %i when it was forged by somebody who holds its key', (bad) => {
    const sizes = [5001, 6001, 7003, 8001]; // none of them compressed, so that the forgery is as long
    const { chunks, bytes, plaintext } = runOf(sizes);
    const sizesBefore = sizes.slice(0, bad).reduce((sum, size) => sum + size, 0);
    const place = chunks[bad]!;
    bytes.set(forged(place), place.at);
    const opened = open(bytes, chunks);
    expect(opened.refusal).toMatchObject({ code: 'chunk.invalid' });
    expect(opened.count).toBe(bad);
    expect(Buffer.from(opened.plaintext).equals(plaintext.subarray(0, sizesBefore))).toBe(true);
  });

  it('stops at the first of two bad chunks, whichever check shows it', () => {
    const { chunks, bytes } = runOf([5001, 6001, 100, 8001, 9001]);
    bytes.set(forged(chunks[1]!), chunks[1]!.at);
    bytes[chunks[3]!.at + 100]! ^= 1;
    expect(open(bytes, chunks)).toMatchObject({ count: 1, refusal: { code: 'chunk.invalid' } });
  });

  it('tells a chunk of an unknown codec from a damaged one only when its tag is right', () => {
    const { chunks, bytes } = runOf([5000, 5000]);
    bytes[chunks[1]!.at] = 9;
    expect(open(bytes, chunks)).toMatchObject({ count: 1, refusal: { code: 'chunk.invalid' } });
  });
});
