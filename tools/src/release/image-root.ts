import { execFile } from 'node:child_process';
import {
  chmod,
  chown,
  copyFile,
  cp,
  lstat,
  mkdir,
  readdir,
  readlink,
  realpath,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';

import { type DebianPackage, packagesOf } from './debian-packages.js';
import { describeForeignPrograms, LICENSES } from './foreign-programs.js';
import type { ReleasedImage } from './released-images.js';

const run = promisify(execFile);

/** Whom services run as; distroless images call this user "nonroot", too. */
const NOBODY = 65_532;
/** Directories that are links since Debian 12. */
const LINKS = ['bin', 'sbin', 'lib', 'lib64'];
const PASSWD = [
  'root:x:0:0:root:/root:/sbin/nologin',
  `nonroot:x:${NOBODY}:${NOBODY}:nonroot:/nonexistent:/sbin/nologin`,
];
const GROUP = ['root:x:0:', `nonroot:x:${NOBODY}:`];
/** Names of this machine before those of the network: without the file it is the other way round. */
const NSSWITCH = ['passwd: files', 'group: files', 'hosts: files dns'];

/** What was written. */
export interface WrittenImageRoot {
  /** Debian's packages that any of it comes from. */
  readonly packages: readonly DebianPackage[];
  /** Versions of the programs that come from elsewhere, by their names. */
  readonly versions: Readonly<Record<string, string>>;
}

/**
 * Writes the root file system of an image from the Debian system that this runs on: the programs that it is to hold, the libraries that these need, and
 * nothing else. Of each package and program that a file comes from it also writes the licence, and of packages the entry in the place where scanners look for it.
 *
 * @param directory - Is made.
 * @param release - Of the product: what its native modules need is in it, too.
 * @throws Error when one of the programs is not installed.
 */
export async function writeImageRoot(
  image: ReleasedImage,
  directory: string,
  release: string,
): Promise<WrittenImageRoot> {
  await mkdir(directory, { recursive: true });
  await writeSkeleton(directory);
  const programs = [...(await Promise.all(image.programs.map(programNamed))), ...image.plugins];
  const files = [...programs, ...(await Promise.all(image.libraries.map(libraryNamed)))];
  const needed = (await Promise.all([...files, ...(await nativeModulesIn(release))].map(librariesOf))).flat();
  const all = [...new Set([...files, ...needed, '/etc/os-release'])];
  for (const path of all) await copyInto(directory, path);
  const packages = await packagesOf(all);
  for (const found of packages) await describePackage(directory, found);
  // What the packages' own texts refer to.
  await cp(LICENSES, join(directory, LICENSES), { recursive: true, verbatimSymlinks: true });
  const versions = await versionsOf(image);
  await describeForeignPrograms(directory, versions);
  return { packages, versions };
}

async function writeSkeleton(directory: string): Promise<void> {
  for (const link of LINKS) {
    const target = await readlink(`/${link}`).catch(() => undefined);
    if (target === undefined) continue;
    await mkdir(join(directory, target), { recursive: true });
    await symlink(target, join(directory, link));
  }
  for (const place of ['app', 'data', 'etc', 'proc', 'run', 'sys', 'tmp']) await mkdir(join(directory, place));
  await chown(join(directory, 'data'), NOBODY, NOBODY);
  await chmod(join(directory, 'tmp'), 0o1777);
  await writeFile(join(directory, 'etc/passwd'), lines(PASSWD));
  await writeFile(join(directory, 'etc/group'), lines(GROUP));
  await writeFile(join(directory, 'etc/nsswitch.conf'), lines(NSSWITCH));
}

/** Under the name that it is asked for by, whatever it is a link to. */
async function copyInto(directory: string, path: string): Promise<void> {
  const place = join(directory, await realpath(dirname(path)), basename(path));
  await mkdir(dirname(place), { recursive: true });
  await copyFile(await realpath(path), place);
  // Neither what changes the user nor what lets others write.
  await chmod(place, (await stat(path)).mode & 0o755);
}

async function describePackage(directory: string, { name, stanza }: DebianPackage): Promise<void> {
  const entries = join(directory, 'var/lib/dpkg/status.d');
  await mkdir(entries, { recursive: true });
  await writeFile(join(entries, name), stanza);
  const licence = `/usr/share/doc/${name}/copyright`;
  const place = join(directory, licence);
  await mkdir(dirname(place), { recursive: true });
  await copyFile(licence, place);
}

async function nativeModulesIn(release: string): Promise<readonly string[]> {
  const entries = await readdir(release, { recursive: true });
  return entries.filter((name) => name.endsWith('.node')).map((name) => join(release, name));
}

/** `command -v` knows what a shell has built in, and would name it without a path. */
async function programNamed(name: string): Promise<string> {
  for (const place of (process.env['PATH'] ?? '').split(':')) {
    const path = join(place, name);
    if ((await lstat(path).catch(() => undefined)) !== undefined) return path;
  }
  throw new Error(`The program "${name}" is to be in the image, and is not installed.`);
}

async function libraryNamed(name: string): Promise<string> {
  const { stdout } = await run('/sbin/ldconfig', ['-p']);
  const line = stdout.split('\n').find((one) => one.trim().startsWith(`${name} `));
  const path = line?.split(' => ')[1];
  if (path === undefined) throw new Error(`The library "${name}" is to be in the image, and is not installed.`);
  return path;
}

/** What the loader of programs would load, itself included; nothing for what was linked as a whole. */
async function librariesOf(path: string): Promise<readonly string[]> {
  const { stdout } = await run('ldd', [path]).catch((error: unknown) => {
    const { stdout: said = '', stderr = '' } = error as { readonly stdout?: string; readonly stderr?: string };
    if (/not a dynamic/.test(said + stderr)) return { stdout: '' };
    throw error;
  });
  if (stdout.includes('not found')) throw new Error(`${path} needs a library that is not installed:\n${stdout}`);
  return stdout.match(/\/\S+(?= \(0x)/g) ?? [];
}

async function versionsOf({ programs, plugins }: ReleasedImage): Promise<Readonly<Record<string, string>>> {
  const versions: Record<string, string> = { node: process.versions.node };
  if (programs.includes('docker')) versions['docker'] = await versionSaidBy('docker', ['--version']);
  for (const plugin of plugins) versions[basename(plugin)] = await versionSaidBy(plugin, ['version']);
  return versions;
}

async function versionSaidBy(program: string, question: readonly string[]): Promise<string> {
  const { stdout } = await run(program, [...question]);
  const version = /\d+\.\d+\.\d+[^\s,]*/.exec(stdout)?.[0];
  if (version === undefined) throw new Error(`${program} does not say which version it is: ${stdout}`);
  return version;
}

function lines(texts: readonly string[]): string {
  return `${texts.join('\n')}\n`;
}
