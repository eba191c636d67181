import { randomBytes } from 'node:crypto';

import { describeChunkOpener, describeChunkSealer } from '@azaion/split-resource/testing';

import { ChunkWorkerPool } from './chunk-worker-pool.js';

/** Threads run what the build made: they are started by Node itself, outside of the test runner's module loader. */
const entry = new URL('../../dist/chunk-workers/chunk-worker.js', import.meta.url);

describe('ChunkWorkerPool', () => {
  const pool = new ChunkWorkerPool({ threads: 2, entry });

  afterAll(() => pool.close());

  describeChunkOpener('ChunkWorkerPool', () => pool.opener);

  describeChunkSealer('ChunkWorkerPool', () => pool.sealer);

  it('fails what is under way when it is closed, and everything after', async () => {
    const shortLived = new ChunkWorkerPool({ threads: 1, entry });
    const [plaintext, domainKey] = [randomBytes(500_000), randomBytes(32)];
    const underWay = Promise.allSettled(
      Array.from({ length: 20 }, () => shortLived.sealer.identify(plaintext, domainKey)),
    );
    await shortLived.close();
    expect((await underWay).some(({ status }) => status === 'rejected')).toBe(true);
    await expect(shortLived.sealer.identify(plaintext, domainKey)).rejects.toThrow('closed');
  });
});
