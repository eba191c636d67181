import { createCipheriv } from 'node:crypto';
import { type FileHandle, open, readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { legacyAesKey } from '@azaion/crypto';
import { pseudoRandomBytes, type TempDirectory, tempDirectory } from '@azaion/testing';

import { decipherLegacyFiles } from './decipher-files.js';
import { SLICE_BYTES } from './decipher-messages.js';

const KEY = legacyAesKey('a key');
const IV = Buffer.alloc(16, 7);
const PIECE_BYTES = 128 * 1024;
const LARGEST = 2 * SLICE_BYTES + PIECE_BYTES + 5;
/** Threads run what was compiled. */
const entry = new URL('../../dist/legacy-files/decipher-worker.js', import.meta.url);
const { signal } = new AbortController();

/** Of Node's own cipher, not of the code under test. */
function encrypted(plaintext: Uint8Array): Buffer {
  const cipher = createCipheriv('aes-256-cbc', KEY, IV);
  return Buffer.concat([IV, cipher.update(plaintext), cipher.final()]);
}

describe('decipherLegacyFiles', () => {
  let directory: TempDirectory;
  let content: Buffer;
  const handles: FileHandle[] = [];
  beforeAll(async () => {
    directory = await tempDirectory('azaion-decipher');
    content = Buffer.from(pseudoRandomBytes('decipher', LARGEST));
  });
  afterEach(async () => {
    for (const handle of handles.splice(0)) await handle.close();
  });
  afterAll(() => directory.remove());

  const at = (name: string): string => join(directory.path, name);

  async function opened(name: string, flags: 'r' | 'w'): Promise<FileHandle> {
    const handle = await open(at(name), flags);
    handles.push(handle);
    return handle;
  }

  interface Deciphering {
    readonly cuts?: readonly number[];
    readonly totalBytes: number;
    readonly threads?: number;
    readonly onBytes?: (bytes: number) => void;
    readonly signal?: AbortSignal;
    readonly into?: 'r' | 'w';
    /** Done with the files before they are read and after their sizes were taken. */
    readonly before?: () => Promise<void>;
  }

  /** Cuts `IV ‖ C` at the places into files, and deciphers them. */
  async function decipher(ciphertext: Buffer, how: Deciphering): Promise<Buffer> {
    const places = [0, ...(how.cuts ?? []), ciphertext.length];
    const files: { descriptor: number; sizeBytes: number }[] = [];
    for (let part = 0; part + 1 < places.length; part++) {
      const bytes = ciphertext.subarray(places[part], places[part + 1]);
      await writeFile(at(`part-${part}`), bytes);
      files.push({ descriptor: (await opened(`part-${part}`, 'r')).fd, sizeBytes: bytes.length });
    }
    await writeFile(at('out'), '');
    const { fd: descriptor } = await opened('out', how.into ?? 'w');
    await how.before?.();
    const { totalBytes, threads = 2 } = how;
    const job = { aesKey: KEY, files, descriptor, totalBytes, threads, entry };
    await decipherLegacyFiles(job, how.onBytes ?? ((): undefined => undefined), how.signal ?? signal);
    return readFile(at('out'));
  }

  it.each([0, 1, 15, 16, 17, PIECE_BYTES, PIECE_BYTES + 1, SLICE_BYTES - 1, SLICE_BYTES, SLICE_BYTES + 1, LARGEST])(
    'gives %i bytes back, without the padding',
    async (totalBytes) => {
      const plaintext = content.subarray(0, totalBytes);
      expect((await decipher(encrypted(plaintext), { totalBytes })).equals(plaintext)).toBe(true);
    },
  );

  it.each([[[3072]], [[1]], [[16]], [[SLICE_BYTES + 16]], [[SLICE_BYTES + 5, SLICE_BYTES + 7]], [[0, 100, 100]]])(
    'reads files that were cut at %j',
    async (cuts) => {
      expect((await decipher(encrypted(content), { totalBytes: LARGEST, cuts })).equals(content)).toBe(true);
    },
  );

  it.each([1, 2, 4])('writes the same with %i threads, and tells how far it is', async (threads) => {
    const told: number[] = [];
    const onBytes = (bytes: number): void => void told.push(bytes);
    const written = await decipher(encrypted(content), { totalBytes: LARGEST, threads, onBytes });
    expect(written.equals(content)).toBe(true);
    expect(told).toEqual(told.toSorted((one, other) => one - other));
    expect(told.at(-1)).toBe(LARGEST);
  });

  it('says so when a file is shorter than it was', async () => {
    const shortened = decipher(encrypted(content), {
      totalBytes: LARGEST,
      before: () => truncate(at('part-0'), SLICE_BYTES),
    });
    await expect(shortened).rejects.toMatchObject({ code: 'cdn.unavailable' });
  });

  it('fails with what the system says of the file', async () => {
    const failing = decipher(encrypted(content), { totalBytes: LARGEST, into: 'r' });
    await expect(failing).rejects.toMatchObject({ code: 'EBADF' });
  });

  it('fails when its threads do not start', async () => {
    const job = { aesKey: KEY, files: [], descriptor: 0, totalBytes: 1, entry: new URL('./none.js', import.meta.url) };
    await expect(decipherLegacyFiles(job, () => undefined, signal)).rejects.toThrow('none.js');
  });

  it('stops when it is told to', async () => {
    const stopped = decipher(encrypted(content), {
      totalBytes: LARGEST,
      signal: AbortSignal.abort(new Error('enough')),
    });
    await expect(stopped).rejects.toThrow('enough');
  });
});
