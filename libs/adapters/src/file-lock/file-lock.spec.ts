import { spawnSync } from 'node:child_process';
import { hash } from 'node:crypto';
import { readdir, readFile, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { type TempDirectory, tempDirectory } from '@azaion/testing';

import { lockOwner, tryLock, withLock } from './file-lock.js';

/** The id of a process that has ended. */
const DEAD = String(spawnSync('true').pid);

describe('a lock between processes', () => {
  let directory: TempDirectory;
  let path: string;
  beforeEach(async () => {
    directory = await tempDirectory('azaion-lock');
    path = join(directory.path, 'lock');
  });
  afterEach(() => directory.remove());

  it('belongs to one until it is released, and leaves nothing behind', async () => {
    const first = await tryLock(path);
    expect(first).toBeDefined();
    expect(await tryLock(path)).toBeUndefined();
    await first?.release();
    expect(await readdir(directory.path)).toEqual([]);
    expect(await tryLock(path)).toBeDefined();
  });

  it.each([DEAD, `${DEAD} x`, '', 'nonsense', '-1', '0'])(
    'is taken over from an owner that is gone: "%s"',
    async (text) => {
      await writeFile(path, text);
      expect(await tryLock(path)).toBeDefined();
    },
  );

  it('is not taken from a process that runs, unless it is older than any command', async () => {
    await writeFile(path, `${String(process.ppid)} x`);
    await utimes(path, 1, 1);
    expect(await tryLock(path)).toBeUndefined();
    expect(await tryLock(path, 60_000)).toBeDefined();
  });

  it('is taken over although somebody died while taking it over', async () => {
    await writeFile(path, DEAD);
    await writeFile(`${path}.${hash('sha256', DEAD).slice(0, 16)}`, `${DEAD} x`);
    expect(await tryLock(path)).toBeDefined();
    expect(await readdir(directory.path)).toEqual(['lock']);
  });

  it('that became somebody else’s is not released', async () => {
    const lock = await tryLock(path);
    await writeFile(path, `${String(process.ppid)} other`);
    await lock?.release();
    expect(await readFile(path, 'utf8')).toBe(`${String(process.ppid)} other`);
  });

  it('goes to one of many who find a dead owner at the same time', async () => {
    for (let round = 0; round < 20; round += 1) {
      await writeFile(path, DEAD);
      const taken = await Promise.all(Array.from({ length: 16 }, () => tryLock(path)));
      const owners = taken.filter((lock) => lock !== undefined);
      expect(owners).toHaveLength(1);
      await owners[0]?.release();
    }
  });

  it('lets one at a time work', async () => {
    await writeFile(path, DEAD);
    let working = 0;
    let done = 0;
    const work = async (): Promise<void> => {
      expect((working += 1)).toBe(1);
      await new Promise(setImmediate);
      working -= 1;
      done += 1;
    };
    await Promise.all(Array.from({ length: 16 }, () => withLock(path, 1, work)));
    expect([done, await readdir(directory.path)]).toEqual([16, []]);
  });

  it('names its owner, and nobody where there is none', async () => {
    expect(await lockOwner(path)).toBeUndefined();
    const lock = await tryLock(path);
    expect(await lockOwner(path)).toBe(process.pid);
    await lock?.release();
    expect(await lockOwner(path)).toBeUndefined();
  });
});
