import { mkdir, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { tempDirectory, type TempDirectory } from '@azaion/testing';

import { FileFlightGate } from './file-flight-gate.js';

describe('FileFlightGate', () => {
  let root: TempDirectory;
  let file: string;
  beforeEach(async () => {
    root = await tempDirectory('azaion-gate');
    await mkdir(join(root.path, 'azaion'));
    file = join(root.path, 'azaion', 'in-flight');
  });
  afterEach(() => root.remove());

  it.each([true, false])('is closed while the file exists (named: %s)', async (isNamed) => {
    const gate = new FileFlightGate(file, isNamed);
    expect(await gate.isClosed()).toBe(false);
    await writeFile(file, '');
    expect(await gate.isClosed()).toBe(true);
    await rm(file);
    expect(await gate.isClosed()).toBe(false);
  });

  it('follows a directory that was taken away and made again', async () => {
    const gate = new FileFlightGate(file, true);
    await rm(join(root.path, 'azaion'), { recursive: true });
    expect(await gate.isClosed()).toBe(true);
    await mkdir(join(root.path, 'new'));
    await rename(join(root.path, 'new'), join(root.path, 'azaion'));
    expect(await gate.isClosed()).toBe(false);
    await writeFile(file, '');
    expect(await gate.isClosed()).toBe(true);
  });

  it.each([
    [true, true],
    [false, false],
  ])('without a directory counts as closed only when somebody named it (named: %s)', async (isNamed, isClosed) => {
    await rm(join(root.path, 'azaion'), { recursive: true });
    expect(await new FileFlightGate(file, isNamed).isClosed()).toBe(isClosed);
    await writeFile(join(root.path, 'azaion'), '');
    expect(await new FileFlightGate(file, isNamed).isClosed()).toBe(isClosed);
  });

  it.each([true, false])('is closed while nobody can look (named: %s)', async (isNamed) => {
    await symlink(file, file);
    expect(await new FileFlightGate(file, isNamed).isClosed()).toBe(true);
  });
});
