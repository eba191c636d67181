import { open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { pseudoRandomBytes, type TempDirectory, tempDirectory } from '@azaion/testing';

import { FilePlaintext } from './file-plaintext.js';

describe('FilePlaintext', () => {
  let directory: TempDirectory;
  beforeAll(async () => {
    directory = await tempDirectory('file-plaintext');
  });
  afterAll(() => directory.remove());

  it.each([0, 1, 999, 1000, 1001, 5000])(
    'reads %i bytes piece by piece into memory that threads share',
    async (size) => {
      const content = pseudoRandomBytes('file plaintext', size);
      const path = join(directory.path, String(size));
      await writeFile(path, content);
      const plaintext = new FilePlaintext(await open(path));
      const memory = new Uint8Array(new SharedArrayBuffer(1000));
      const pieces: Buffer[] = [];
      for (let count = await plaintext.read(memory); count > 0; count = await plaintext.read(memory))
        pieces.push(Buffer.from(memory.slice(0, count)));
      expect(Buffer.concat(pieces).equals(content)).toBe(true);
      expect(await plaintext.read(memory)).toBe(0);
      await plaintext.close();
      await plaintext.close();
      await expect(plaintext.read(memory)).rejects.toMatchObject({ code: 'EBADF' });
    },
  );
});
