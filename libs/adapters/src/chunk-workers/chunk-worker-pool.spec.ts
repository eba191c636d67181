import { randomBytes } from 'node:crypto';
import { type FileHandle, open, readFile } from 'node:fs/promises';
import { join } from 'node:path';

import { describeChunkOpener, describeChunkSealer } from '@azaion/split-resource/testing';

import { identifyChunk, sealChunk } from '@azaion/crypto';
import { type TempDirectory, tempDirectory } from '@azaion/testing';

import { OpenPlaintextFile } from '../file-store/index.js';
import { ChunkWorkerPool } from './chunk-worker-pool.js';

/** Threads run what the build made: they are started by Node itself, outside of the test runner's module loader. */
const entry = new URL('../../dist/chunk-workers/chunk-worker.js', import.meta.url);

describe('ChunkWorkerPool', () => {
  const pool = new ChunkWorkerPool({ threads: 2, entry });

  afterAll(() => pool.close());

  let directory: TempDirectory;
  let files: FileHandle[] = [];
  beforeAll(async () => {
    directory = await tempDirectory('azaion-chunk-workers');
  });
  afterEach(async () => {
    for (const file of files) await file.close();
    files = [];
  });
  afterAll(() => directory.remove());

  async function openFile(flags: 'w' | 'r'): Promise<{ file: OpenPlaintextFile; content: () => Promise<Buffer> }> {
    const path = join(directory.path, 'plaintext');
    const file = await open(path, flags);
    files.push(file);
    return { file: new OpenPlaintextFile(file), content: () => readFile(path) };
  }

  describeChunkOpener(
    'ChunkWorkerPool',
    () => pool.opener,
    () => openFile('w'),
  );

  it('fails with the code of the system when a file cannot be written to', async () => {
    await openFile('w');
    const { file } = await openFile('r');
    const { h, key, plaintextBytes } = identifyChunk(Buffer.alloc(1000, 7), randomBytes(32));
    const bytes = sealChunk(Buffer.alloc(1000, 7), { h, key, plaintextBytes });
    const chunks = [{ at: 0, sealedBytes: bytes.length, secrets: { h, key, plaintextBytes } }];
    const opening = pool.opener.open({ bytes, movable: true, chunks, into: { file, position: 0 } });
    await expect(opening.next()).rejects.toMatchObject({ code: 'EBADF' });
  });

  describeChunkSealer('ChunkWorkerPool', () => pool.sealer);

  it('keeps the hashes of a pack on different threads, also while nothing is added to them', async () => {
    const two = new ChunkWorkerPool({ threads: 2, entry });
    const stop = new AbortController();
    const first = two.idlest();
    const sha256 = two.sealer.hashing('sha256', stop.signal);
    const second = two.idlest();
    expect(second).not.toBe(first);
    two.sealer.hashing('md5', stop.signal);
    await sha256.digest();
    expect(two.idlest()).toBe(first); // has none any more
    two.sealer.hashing('sha256', stop.signal);
    two.sealer.hashing('sha256', stop.signal);
    stop.abort();
    expect([first.hashes, second.hashes]).toEqual([0, 0]);
    await two.close();
  });

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
