import { randomBytes } from 'node:crypto';
import { type FileHandle, open, readFile } from 'node:fs/promises';
import { join } from 'node:path';

import { tempDirectory, type TempDirectory } from '@azaion/testing';

import { WriteBehind } from './write-behind.js';

const BLOCK_BYTES = 512 * 1024;
const DISK_FULL = Object.assign(new Error('no space left'), { code: 'ENOSPC' });

describe('WriteBehind into a file', () => {
  let directory: TempDirectory;
  beforeAll(async () => {
    directory = await tempDirectory('azaion-write-behind');
  });
  afterAll(() => directory.remove());

  async function written(pieces: readonly Buffer[], expectedBytes: number): Promise<Buffer> {
    const path = join(directory.path, 'file');
    const file = await open(path, 'w');
    const writing = new WriteBehind(file, expectedBytes);
    for (const piece of pieces) {
      const own = Buffer.from(piece);
      await writing.write(own);
      own.fill(0xff); // its memory is the caller's again
    }
    await writing.end();
    await file.close();
    return readFile(path);
  }

  it.each([0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 2 * BLOCK_BYTES, 3 * BLOCK_BYTES + 5])(
    'writes one piece of %i bytes as it is',
    async (sizeBytes) => {
      const piece = randomBytes(sizeBytes);
      expect((await written([piece], sizeBytes)).equals(piece)).toBe(true);
    },
  );

  it.each([1000, 65_536, BLOCK_BYTES - 1, BLOCK_BYTES])(
    'writes twenty pieces of %i bytes in order',
    async (sizeBytes) => {
      const pieces = Array.from({ length: 20 }, () => randomBytes(sizeBytes));
      expect((await written(pieces, 20 * sizeBytes)).equals(Buffer.concat(pieces))).toBe(true);
    },
  );

  it('writes more than was expected as well', async () => {
    const pieces = [randomBytes(1000), randomBytes(5000)];
    expect((await written(pieces, 1500)).equals(Buffer.concat(pieces))).toBe(true);
  });
});

describe('WriteBehind into a file that is slow, or fails', () => {
  const block = Buffer.alloc(BLOCK_BYTES, 1);

  /** Writes end when they are told to. */
  class HeldFile {
    readonly ends: ((error?: Error) => void)[] = [];
    readonly write = ((bytes: Buffer, at = 0) =>
      new Promise((resolve, reject) => {
        this.ends.push((error) => {
          if (error === undefined) resolve({ bytesWritten: bytes.length - at, buffer: bytes });
          else reject(error);
        });
      })) as FileHandle['write'];
  }

  it('takes one block more than the one that is being written, and then lets the sender wait', async () => {
    const file = new HeldFile();
    const writing = new WriteBehind(file, 4 * BLOCK_BYTES);
    await writing.write(block);
    let taken = false;
    const second = writing.write(block).then(() => (taken = true));
    await new Promise((resolve) => setImmediate(resolve));
    expect(taken).toBe(false);
    expect(file.ends).toHaveLength(1);
    file.ends[0]?.();
    await second;
    expect(file.ends).toHaveLength(2);
  });

  it.each([
    ['the next full block', (writing: WriteBehind) => writing.write(block)],
    ['the end', (writing: WriteBehind) => writing.end()],
  ])('tells %s of a write that failed', async (_, then) => {
    const file = new HeldFile();
    const writing = new WriteBehind(file, 4 * BLOCK_BYTES);
    await writing.write(block);
    file.ends[0]?.(DISK_FULL);
    await expect(then(writing)).rejects.toBe(DISK_FULL);
  });
});
