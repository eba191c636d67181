import { copyFile, mkdir, readdir, rename, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';

import { runCommand, tempDirectory } from '@azaion/testing';

const APT_TIMEOUT_MS = 10 * 60_000;
const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';

/** One program of a package. */
export interface DebianProgram {
  readonly packageName: string;
  /** In the package, without a slash at the front. */
  readonly path: string;
  /** As Debian names processors; default: that of this machine. */
  readonly architecture?: string;
}

/**
 * Takes one program out of a package of Debian 13, also for another processor than this machine's, and installs nothing: for programs that Debian 12 does not
 * have and that run on it. apt checks the package by the signature of Debian's archive.
 *
 * @param place - Where the program is put, with its directory.
 * @throws Error with what apt says.
 */
export async function takeDebianProgram(
  { packageName, path, architecture }: DebianProgram,
  place: string,
): Promise<void> {
  const directory = await tempDirectory('azaion-debian');
  const at = (name: string): string => join(directory.path, name);
  try {
    for (const name of ['lists/partial', 'archives/partial', 'unpacked']) await mkdir(at(name), { recursive: true });
    await writeFile(at('sources.list'), `deb [signed-by=${KEYRING}] ${await debianMirror()} trixie main\n`);
    const settings = {
      'Dir::Etc::sourcelist': at('sources.list'),
      'Dir::Etc::sourceparts': '-',
      'Dir::State::lists': at('lists'),
      'Dir::State::status': '/dev/null',
      'Dir::Cache': directory.path,
      // Whoever downloads for root may not enter this directory.
      'APT::Sandbox::User': 'root',
      ...(architecture !== undefined && { 'APT::Architecture': architecture, 'APT::Architectures': architecture }),
    };
    const options = Object.entries(settings).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
    for (const command of [['update'], ['download', packageName]])
      await runCommand('env', [`--chdir=${directory.path}`, 'apt-get', '-q', ...options, ...command], APT_TIMEOUT_MS);
    const [file = ''] = (await readdir(directory.path)).filter((name) => name.endsWith('.deb'));
    await runCommand('dpkg-deb', ['--extract', at(file), at('unpacked')]);
    await mkdir(dirname(place), { recursive: true });
    // Whoever looks for it meanwhile finds all of it, or nothing.
    await copyFile(join(at('unpacked'), path), `${place}.new`);
    await rename(`${place}.new`, place);
  } finally {
    await directory.remove();
  }
}

/** The mirror that this machine's own packages come from. */
export async function debianMirror(): Promise<string> {
  const policy = await runCommand('apt-cache', ['policy', 'base-files']);
  return /https?:\/\/\S+/.exec(policy)?.[0] ?? 'https://deb.debian.org/debian';
}
