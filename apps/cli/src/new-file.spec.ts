import { readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { type TempDirectory, tempDirectory } from '@azaion/testing';

import { assertFree, writeNewFile } from './new-file.js';

describe('writeNewFile', () => {
  let directory: TempDirectory;
  let path: string;
  beforeEach(async () => {
    directory = await tempDirectory();
    path = join(directory.path, 'fragment');
  });
  afterEach(() => directory.remove());

  it('writes bytes as they are, and nothing beside them', async () => {
    const bytes = Buffer.from([0, 10, 13, 255, 10]);
    await writeNewFile(path, bytes, 0o600);
    expect((await readFile(path)).equals(bytes)).toBe(true);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect(await readdir(directory.path)).toEqual(['fragment']);
  });

  it('leaves a file of that name as it was', async () => {
    await writeFile(path, 'older');
    await expect(writeNewFile(path, 'newer', 0o600)).rejects.toThrow('is there already');
    expect(await readFile(path, 'utf8')).toBe('older');
  });

  it('writes through no link, not even one that leads nowhere', async () => {
    await symlink(join(directory.path, 'elsewhere'), path);
    await expect(writeNewFile(path, 'newer', 0o600)).rejects.toThrow('is there already');
    expect(await readdir(directory.path)).toEqual(['fragment']);
  });

  it('says which place cannot be written to', async () => {
    await expect(writeNewFile(join(path, 'below'), 'x', 0o600)).rejects.toThrow('cannot be written');
  });
});

describe('assertFree', () => {
  let directory: TempDirectory;
  beforeEach(async () => {
    directory = await tempDirectory();
  });
  afterEach(() => directory.remove());

  it('takes a name that nobody has, and makes nothing', async () => {
    await expect(assertFree(join(directory.path, 'fragment'))).resolves.toBeUndefined();
    expect(await readdir(directory.path)).toEqual([]);
  });

  it.each<[string, (path: string) => Promise<void>]>([
    ['a file', (path) => writeFile(path, '')],
    ['a link that leads nowhere', (path) => symlink('nowhere', path)],
  ])('refuses the name of %s', async (_, make) => {
    const path = join(directory.path, 'fragment');
    await make(path);
    await expect(assertFree(path)).rejects.toThrow('is there already');
  });

  it('says which place cannot be written to', async () => {
    const file = join(directory.path, 'file');
    await writeFile(file, '');
    await expect(assertFree(join(file, 'below'))).rejects.toThrow('cannot be written');
  });
});
