import { execFileSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { type TempDirectory, tempDirectory } from '@azaion/testing';

import { assertNotRunning, noteRunning } from './running-demo.js';

describe('a directory of the demo', () => {
  let directory: TempDirectory;
  beforeEach(async () => {
    directory = await tempDirectory('azaion-running');
  });
  afterEach(() => directory.remove());

  it('is refused while another process runs a demo there, naming it', async () => {
    await writeFile(join(directory.path, 'demo.pid'), String(process.ppid));
    await expect(assertNotRunning(directory.path)).rejects.toThrow(`process ${process.ppid}`);
  });

  it('may be used when nobody has, when the one who did has ended, and by the same process again', async () => {
    await assertNotRunning(directory.path);
    const ended = execFileSync(process.execPath, ['-p', 'process.pid']).toString().trim();
    await writeFile(join(directory.path, 'demo.pid'), ended);
    await assertNotRunning(directory.path);
    const leave = await noteRunning(directory.path);
    await assertNotRunning(directory.path);
    await leave();
    await assertNotRunning(directory.path);
  });
});
