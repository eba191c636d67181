import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { type TempDirectory, tempDirectory } from '@azaion/testing';

import { partialPath, writeWholeFile } from './whole-file.js';

describe('writeWholeFile', () => {
  let directory: TempDirectory;
  let path: string;
  beforeEach(async () => {
    directory = await tempDirectory();
    path = join(directory.path, 'model.onnx');
  });
  afterEach(() => directory.remove());

  async function* pieces(...parts: (string | Error)[]): AsyncGenerator<Buffer> {
    for (const part of parts) {
      await Promise.resolve();
      if (part instanceof Error) throw part;
      yield Buffer.from(part);
    }
  }

  it('refuses a directory before it reads anything', async () => {
    let read = false;
    async function* content(): AsyncGenerator<Buffer> {
      read = true;
      yield await Promise.resolve(Buffer.from('x'));
    }
    await expect(writeWholeFile(directory.path, content())).rejects.toThrow('is a directory');
    expect(read).toBe(false);
    expect(await readdir(directory.path)).toEqual([]);
  });

  it.each([[[]], [['']], [['one']], [['one', 'two', 'three']]])('writes %j', async (parts) => {
    const totals: number[] = [];
    expect(await writeWholeFile(path, pieces(...parts), (bytes) => totals.push(bytes))).toBe(parts.join('').length);
    expect(await readFile(path, 'utf8')).toBe(parts.join(''));
    expect(totals.at(-1) ?? 0).toBe(parts.join('').length);
    expect(await readdir(directory.path)).toEqual(['model.onnx']);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
  });

  it('shows nothing under the name before everything is there', async () => {
    async function* watched(): AsyncGenerator<Buffer> {
      yield Buffer.from('one');
      expect(await readdir(directory.path)).toEqual(['model.onnx.partial']);
      yield Buffer.from('two');
    }
    await writeWholeFile(path, watched());
    expect(await readFile(path, 'utf8')).toBe('onetwo');
  });

  it('leaves an older file as it was and no partial one when the content fails', async () => {
    await writeFile(path, 'older');
    const failure = new Error('integrity');
    await expect(writeWholeFile(path, pieces('one', failure))).rejects.toBe(failure);
    expect(await readFile(path, 'utf8')).toBe('older');
    expect(await readdir(directory.path)).toEqual(['model.onnx']);
  });

  it('replaces what an earlier attempt left behind', async () => {
    await writeFile(partialPath(path), 'much longer than the new content');
    await writeWholeFile(path, pieces('new'));
    expect(await readFile(path, 'utf8')).toBe('new');
  });

  it('says that a place cannot be written to before anything is read', async () => {
    await expect(
      writeWholeFile(join(directory.path, 'no', 'where'), pieces(new Error('was read'))),
    ).rejects.toMatchObject({ exit: 'usage' });
  });
});
