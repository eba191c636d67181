import { execFileSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { type TempDirectory, tempDirectory } from '@azaion/testing';

import { claimDemoDirectory } from './running-demo.js';

describe('a directory of the demo', () => {
  let parent: TempDirectory;
  let directory: string;
  beforeEach(async () => {
    parent = await tempDirectory('azaion-running');
    directory = join(parent.path, 'demo');
  });
  afterEach(() => parent.remove());

  it('is refused while another process runs a demo there, naming it', async () => {
    await writeFile(`${directory}.lock`, String(process.ppid));
    await expect(claimDemoDirectory(directory)).rejects.toThrow(`process ${process.ppid}`);
  });

  it('may be used when nobody has, when the one who did has ended, and again when this one has', async () => {
    await (await claimDemoDirectory(directory)).release();
    const ended = execFileSync(process.execPath, ['-p', 'process.pid']).toString().trim();
    await writeFile(`${directory}.lock`, ended);
    const lock = await claimDemoDirectory(directory);
    await expect(claimDemoDirectory(directory)).rejects.toThrow(`process ${process.pid}`);
    await lock.release();
    await (await claimDemoDirectory(directory)).release();
  });

  it('need not exist, nor the one above it', async () => {
    await (await claimDemoDirectory(join(parent.path, 'not', 'yet'))).release();
  });
});
