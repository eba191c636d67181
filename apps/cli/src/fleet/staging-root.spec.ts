import { mkdir, readFile, realpath, stat, symlink } from 'node:fs/promises';
import { join } from 'node:path';

import { type TempDirectory, tempDirectory } from '@azaion/testing';

import { parseOwner, StagingRoot } from './staging-root.js';

const CONF = '/etc/azaion/device.conf';

describe('StagingRoot', () => {
  let directory: TempDirectory;
  let root: string;
  let outside: string;
  beforeEach(async () => {
    directory = await tempDirectory();
    root = join(directory.path, 'root');
    outside = join(directory.path, 'outside');
    await mkdir(join(root, 'etc'), { recursive: true });
    await mkdir(outside);
  });
  afterEach(() => directory.remove());

  it('writes a file for its owner alone, into directories as systems have them', async () => {
    const staging = await StagingRoot.open(root);
    const path = await staging.locate('/opt/deep/azaion/device.conf');
    expect(path).toBe(join(await realpath(root), 'opt/deep/azaion/device.conf'));
    await staging.write(path, 'content', undefined);
    expect(await readFile(path, 'utf8')).toBe('content');
    const modeOf = async (of: string): Promise<number> => (await stat(join(root, of))).mode & 0o777;
    expect(await modeOf('opt/deep/azaion/device.conf')).toBe(0o600);
    expect(await modeOf('opt/deep/azaion')).toBe(0o700);
    expect(await modeOf('opt/deep')).toBe(0o755);
    expect(await modeOf('opt')).toBe(0o755);
  });

  it('follows links that stay inside, as root file systems have them', async () => {
    await mkdir(join(root, 'data/azaion'), { recursive: true });
    await symlink('../data/azaion', join(root, 'etc/azaion'));
    const staging = await StagingRoot.open(root);
    await staging.write(await staging.locate(CONF), 'content', undefined);
    expect(await readFile(join(root, 'data/azaion/device.conf'), 'utf8')).toBe('content');
  });

  it.each([
    ['a directory of this machine', 'etc/azaion', () => outside],
    ['a directory that is not there', 'etc/azaion', () => join(outside, 'none')],
    ['a directory above, by a relative link', 'etc/azaion', () => '../../outside'],
    ['a file of this machine', 'etc/azaion/device.conf', () => join(outside, 'stolen.conf')],
  ])('refuses a link to %s: the file would land there', async (_, link, target) => {
    if (link.endsWith('.conf')) await mkdir(join(root, 'etc/azaion'));
    await symlink(target(), join(root, link));
    const staging = await StagingRoot.open(root);
    await expect(staging.locate(CONF)).rejects.toThrow('leads out of the staging directory');
  });

  it('takes the root of this machine', async () => {
    expect(await (await StagingRoot.open('/')).locate('/no/such/device.conf')).toBe('/no/such/device.conf');
  });

  it.each(['etc/device.conf', '/etc/', ''])('refuses the path %j', async (path) => {
    const staging = await StagingRoot.open(root);
    await expect(staging.locate(path)).rejects.toThrow('is not the path of a file');
  });

  it('stays inside whatever climbs up', async () => {
    const staging = await StagingRoot.open(root);
    await expect(staging.locate('/../outside/device.conf')).rejects.toThrow('leads out');
  });

  it('refuses a directory that is not there', async () => {
    await expect(StagingRoot.open(join(root, 'none'))).rejects.toThrow('There is no directory');
  });
});

describe('parseOwner', () => {
  it('takes numbers', () => {
    expect(parseOwner('1000')).toEqual({ uid: 1000, gid: 1000 });
    expect(parseOwner('0:44')).toEqual({ uid: 0, gid: 44 });
  });
  it.each(['root', '', '1:', '-1', '1:2:3', '99999999999'])('refuses %j', (text) => {
    expect(() => parseOwner(text)).toThrow('is not an owner');
  });
});
