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
    const window = shortLived.sealer.allocate(500_000);
    const chunks = [{ start: 0, end: window.length }];
    const named = (): Promise<unknown> => shortLived.sealer.identify(window, chunks, randomBytes(32));
    const hash = shortLived.sealer.hashing('sha256', new AbortController().signal);
    const underWay = Promise.allSettled(Array.from({ length: 20 }, named));
    await shortLived.close();
    expect((await underWay).some(({ status }) => status === 'rejected')).toBe(true);
    await expect(named()).rejects.toThrow('closed');
    await expect(hash.update(window)).rejects.toThrow('ended');
    await expect(hash.digest()).rejects.toThrow('ended');
  });

  it('seals in no memory but its own: what threads write elsewhere would be lost', async () => {
    const window = new Uint8Array(1000);
    await expect(pool.sealer.identify(window, [{ start: 0, end: 1000 }], randomBytes(32))).rejects.toThrow(TypeError);
  });
});
