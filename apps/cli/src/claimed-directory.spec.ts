import { spawnSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { type TempDirectory, tempDirectory } from '@azaion/testing';

import { claimDirectory } from './claimed-directory.js';

/** The id of a process that has ended. */
const DEAD = String(spawnSync('true').pid);

describe('claimDirectory', () => {
  let directory: TempDirectory;
  beforeEach(async () => {
    directory = await tempDirectory('azaion-claimed');
  });
  afterEach(() => directory.remove());

  it('gives every process a directory of its own, also where dead ones left theirs', async () => {
    for (let round = 0; round < 10; round += 1) {
      await Promise.all(['0', '1'].map((name) => writeFile(join(directory.path, `${name}.pid`), DEAD)));
      const claimed = await Promise.all(Array.from({ length: 8 }, () => claimDirectory(directory.path)));
      expect(new Set(claimed.map((one) => one.path)).size).toBe(8);
      await Promise.all(claimed.map((one) => one.release()));
    }
  });
});
