import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';

import { describeWith, runCommand, type TempDirectory, tempDirectory } from '@azaion/testing';

import { WORKSPACE } from '../started-service.js';
import { type WrittenImageRoot, writeImageRoot } from './image-root.js';

/** Debian alone has what is copied; its container engine's package stands for "root on Debian". */
describeWith('docker', 'writeImageRoot', () => {
  let directory: TempDirectory;
  let root: string;
  let written: WrittenImageRoot;

  beforeAll(async () => {
    directory = await tempDirectory('azaion-image-root');
    root = join(directory.path, 'root');
    written = await writeImageRoot({ programs: ['cat', 'sh'], plugins: [], libraries: [] }, root, directory.path);
  });
  afterAll(() => directory.remove());

  it('holds the programs with what they need, so that they run there, and no other', async () => {
    expect((await readdir(join(root, 'usr/bin'))).sort()).toEqual(['cat', 'sh']);
    const answer = await runCommand('chroot', [root, '/bin/sh', '-c', 'cat /etc/nsswitch.conf']);
    expect(answer).toContain('hosts: files dns');
    await expect(runCommand('chroot', [root, '/bin/sh', '-c', 'ls /'])).rejects.toThrow('ls: not found');
  });

  it('says where each file comes from, in the place where scanners look, with its licence', async () => {
    const names = written.packages.map(({ name }) => name);
    expect(names).toEqual(['base-files', 'coreutils', 'dash', 'libc6']);
    expect(await readdir(join(root, 'var/lib/dpkg/status.d'))).toEqual(names);
    for (const { name, version } of written.packages) {
      expect(await readFile(join(root, 'var/lib/dpkg/status.d', name), 'utf8')).toContain(`Version: ${version}\n`);
      expect((await stat(join(root, 'usr/share/doc', name, 'copyright'))).size).toBeGreaterThan(0);
    }
  });

  it('brings the texts that licences refer to, and what those of programs from elsewhere ask for', async () => {
    const about = (name: string): Promise<string> => readFile(join(root, 'usr/share/doc', name, 'copyright'), 'utf8');
    for (const [text] of (await about('coreutils')).matchAll(/\/usr\/share\/common-licenses\/[A-Z][\w.-]*\w/g))
      expect((await stat(join(root, text))).size).toBeGreaterThan(0);
    expect(await about('coreutils')).toContain('/usr/share/common-licenses/');
    expect(await about('node')).toContain(`node ${process.versions.node}, `);
    expect(await about('node')).toContain('Permission is hereby granted');
  });

  it('gives the data directory to whom services run as, and lets everybody write temporary files alone', async () => {
    expect(await stat(join(root, 'data'))).toMatchObject({ uid: 65_532, gid: 65_532 });
    expect((await stat(join(root, 'tmp'))).mode & 0o7777).toBe(0o1777);
    expect(await runCommand('find', [root, '-perm', '/6002', '-not', '-type', 'l', '-not', '-path', '*/tmp'])).toBe('');
  });

  it('brings what the native modules of the product need', async () => {
    const other = join(directory.path, 'native');
    const release = join(WORKSPACE, 'node_modules', '@node-rs', `argon2-linux-${process.arch}-gnu`);
    await writeImageRoot({ programs: ['cat'], plugins: [], libraries: [] }, other, release);
    expect(await runCommand('find', [other, '-name', 'librt.so.1'])).not.toBe('');
  });

  it('refuses a program that is not there', async () => {
    const image = { programs: ['no-such-program'], plugins: [], libraries: [] };
    await expect(writeImageRoot(image, join(directory.path, 'other'), directory.path)).rejects.toThrow(
      '"no-such-program"',
    );
  });

  it('takes the right to change the user from a program that has it', async () => {
    expect((await stat('/usr/bin/su')).mode & 0o4000).toBe(0o4000);
    const other = join(directory.path, 'another');
    await writeImageRoot({ programs: ['su'], plugins: [], libraries: [] }, other, directory.path);
    expect((await stat(join(other, 'usr/bin/su'))).mode & 0o7777).toBe(0o755);
  });
});
