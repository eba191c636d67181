import { randomBytes } from 'node:crypto';

import { openChunk } from '@azaion/crypto';
import { identifyChunk } from '@azaion/split-resource';
import { describeChunkOpener } from '@azaion/split-resource/testing';

import { ChunkWorkerPool } from './chunk-worker-pool.js';

/** Threads run what the build made: they are started by Node itself, outside of the test runner's module loader. */
const entry = new URL('../../dist/chunk-workers/chunk-worker.js', import.meta.url);

describe('ChunkWorkerPool', () => {
  const pool = new ChunkWorkerPool({ threads: 2, entry });
  const domainKey = randomBytes(32);

  afterAll(() => pool.close());

  describeChunkOpener('ChunkWorkerPool', () => pool.opener);

  it.each([1, 1000, 40_000, 128 * 1024, 512 * 1024])(
    'names and seals %i bytes as the calling thread does',
    async (sizeBytes) => {
      for (const plaintext of [randomBytes(sizeBytes), Buffer.alloc(sizeBytes, 3)]) {
        const identity = await pool.sealer.identify(plaintext, domainKey);
        const expected = identifyChunk(plaintext, domainKey);
        expect(Buffer.from(identity.id).equals(expected.id)).toBe(true);
        expect(Buffer.from(identity.key).equals(expected.key)).toBe(true);
        const sealed = await pool.sealer.seal(plaintext, identity);
        expect(openChunk(sealed, expected).equals(plaintext)).toBe(true);
      }
    },
  );

  it('leaves the bytes it is given as they are, also views into a larger buffer', async () => {
    const around = randomBytes(100_000);
    const plaintext = around.subarray(1000, 90_000);
    const before = Buffer.from(around);
    await pool.sealer.seal(plaintext, await pool.sealer.identify(plaintext, domainKey));
    expect(around.equals(before)).toBe(true);
  });

  it('keeps many answers apart', async () => {
    const plaintexts = Array.from({ length: 200 }, (_, index) => Buffer.alloc(1 + index * 37, index));
    const opened = await Promise.all(
      plaintexts.map(async (plaintext) => {
        const identity = await pool.sealer.identify(plaintext, domainKey);
        return openChunk(await pool.sealer.seal(plaintext, identity), identity);
      }),
    );
    expect(opened.every((bytes, index) => bytes.equals(plaintexts[index]!))).toBe(true);
  });

  it('fails what is under way when it is closed, and everything after', async () => {
    const shortLived = new ChunkWorkerPool({ threads: 1, entry });
    const plaintext = randomBytes(500_000);
    const underWay = Promise.allSettled(
      Array.from({ length: 20 }, () => shortLived.sealer.identify(plaintext, domainKey)),
    );
    await shortLived.close();
    expect((await underWay).some(({ status }) => status === 'rejected')).toBe(true);
    await expect(shortLived.sealer.identify(plaintext, domainKey)).rejects.toThrow('closed');
  });
});
