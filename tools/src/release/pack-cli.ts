import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { writeRelease } from './write-release.js';

const run = promisify(execFile);

/**
 * Packs the compiled CLI as one npm package that needs no other: `npm install FILE` works without a network.
 *
 * @param directory - Gets the package's content, in `cli`, and the tarball.
 * @returns The path of the tarball.
 */
export async function packCli(workspace: string, directory: string): Promise<string> {
  const release = await writeRelease(workspace, 'cli', join(directory, 'cli'));
  const { stdout } = await run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', directory], {
    cwd: release.directory,
  });
  const [packed] = JSON.parse(stdout) as readonly { readonly filename: string }[];
  if (packed === undefined) throw new Error('npm packed nothing.');
  return join(directory, packed.filename);
}

/**
 * Installs a packed CLI as `npm install` does on a machine without a network and with an empty cache.
 *
 * @param directory - An empty one. @returns The path of the command.
 */
export async function installPackedCli(tarball: string, directory: string): Promise<string> {
  await run('npm', [
    'install',
    '--offline',
    '--no-audit',
    '--no-fund',
    '--ignore-scripts',
    '--cache',
    join(directory, '.npm'),
    '--prefix',
    directory,
    tarball,
  ]);
  return join(directory, 'node_modules', '.bin', 'azaion');
}
