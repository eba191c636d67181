import { spawnSync } from 'node:child_process';
import { chown, mkdir, readdir, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { tempDirectory, type TempDirectory } from '@azaion/testing';

import { memoryDirectory } from './memory-directory.js';
import { openWorkDirectory } from './work-directory.js';

const PREFIX = 'work-';

describe('a directory that one process works in', () => {
  let root: TempDirectory;
  beforeEach(async () => {
    root = await tempDirectory('azaion-work');
  });
  afterEach(() => root.remove());

  /** Makes a directory as a process does that is killed then. */
  async function killed(name: string): Promise<string> {
    const directory = join(root.path, name);
    await mkdir(directory);
    const script = `require('node:net').createServer().listen('${directory}/alive', () => process.kill(process.pid, 'SIGKILL'))`;
    spawnSync(process.execPath, ['--eval', script]);
    await writeFile(join(directory, 'secret'), 'secret');
    return directory;
  }
  const leftNow = async (): Promise<string[]> => {
    const { left, remove } = await openWorkDirectory(root.path, PREFIX);
    await remove();
    return left.map(({ directory }) => directory);
  };

  it('is for its user alone, and goes with everything in it', async () => {
    const { directory, remove } = await openWorkDirectory(root.path, PREFIX, 'mine-');
    expect(directory.startsWith(join(root.path, `${PREFIX}mine-`))).toBe(true);
    expect((await stat(directory)).mode & 0o777).toBe(0o700);
    await writeFile(join(directory, 'secret'), 'secret');
    await remove();
    expect(await readdir(root.path)).toEqual([]);
  });

  it('is not taken for left behind while its process lives, by whomever it is looked at', async () => {
    const first = await openWorkDirectory(root.path, PREFIX);
    const second = await openWorkDirectory(root.path, PREFIX);
    expect([first.left, second.left]).toEqual([[], []]);
    await first.remove();
    await second.remove();
  });

  it('is left behind when its process was killed, whoever has its process id now, until it is discarded', async () => {
    const directory = await killed(`${PREFIX}a`);
    const { left, remove } = await openWorkDirectory(root.path, PREFIX);
    expect(left.map((one) => one.directory)).toEqual([directory]);
    for (const { discard } of left) await discard();
    await remove();
    expect(await readdir(root.path)).toEqual([]);
  });

  it('is left behind by a process that was killed while it made it, after a minute', async () => {
    const directory = join(root.path, `${PREFIX}a.draft`);
    await mkdir(directory);
    expect(await leftNow()).toEqual([]);
    const longAgo = new Date(Date.now() - 61_000);
    await utimes(directory, longAgo, longAgo);
    expect(await leftNow()).toEqual([directory]);
  });

  it('is none of those with other names, nor a file', async () => {
    await killed('other');
    await writeFile(join(root.path, `${PREFIX}file`), '');
    await symlink(await killed('elsewhere'), join(root.path, `${PREFIX}link`));
    expect(await leftNow()).toEqual([]);
  });

  // Only root can give a directory to somebody else.
  if (process.getuid?.() === 0)
    it("is none of another user's, who can make what nobody else can remove", async () => {
      await chown(await killed(`${PREFIX}foreign`), 65_534, 65_534);
      expect(await leftNow()).toEqual([]);
    });
});

describe('memoryDirectory', () => {
  it('finds the first that is in memory and writable', async () => {
    expect(await memoryDirectory(['/no/such/directory', '/proc', '/dev/shm', '/run'])).toBe('/dev/shm');
  });

  it('finds none where files would lie elsewhere', async () => {
    expect(await memoryDirectory(['/no/such/directory', '/proc', '/sys'])).toBeUndefined();
    expect(await memoryDirectory([])).toBeUndefined();
  });
});
