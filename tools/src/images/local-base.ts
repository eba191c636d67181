import { cp, mkdir, readFile, realpath, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';

import { findProgram, runCommand } from '@azaion/testing';

import { WORKSPACE } from '../started-service.js';

const BOOTSTRAP_TIMEOUT_MS = 15 * 60_000;
const CERTIFICATES = 'etc/ssl/certs/ca-certificates.crt';

/** Where npm lies: above `bin/npm-cli.js`. */
async function npmDirectory(): Promise<string> {
  return dirname(dirname(await realpath(findProgram('npm') ?? 'npm')));
}

/**
 * Makes what a registry would otherwise provide: a Debian with Node and npm as base image, and an image with a Docker CLI. Both come from this
 * machine and its Debian mirror. The base trusts what this machine trusts, so that `npm ci` works inside of it.
 *
 * @param docker - Runs the Docker CLI against the engine that gets the images.
 * @param directory - Room for a root file system, about 400 MB.
 * @returns The names of the images, as build arguments.
 */
export async function makeLocalBase(
  docker: (...args: string[]) => Promise<string>,
  directory: string,
): Promise<{ readonly BASE_IMAGE: string; readonly DOCKER_CLI_IMAGE: string }> {
  if (findProgram('debootstrap') === undefined)
    throw new Error('debootstrap is missing; on Debian: apt-get install debootstrap');
  const root = join(directory, 'base');
  await runCommand(
    'debootstrap',
    ['--variant=minbase', '--include=ca-certificates', 'bookworm', root, await debianMirror()],
    BOOTSTRAP_TIMEOUT_MS,
  );
  await cp(join(WORKSPACE, 'node_modules', 'node', 'bin', 'node'), join(root, 'usr/local/bin/node'));
  await cp(await npmDirectory(), join(root, 'usr/local/lib/node_modules/npm'), { recursive: true });
  for (const name of ['npm', 'npx'])
    await symlink(`../lib/node_modules/npm/bin/${name}-cli.js`, join(root, 'usr/local/bin', name));
  const certificates = [`/${CERTIFICATES}`, process.env['NODE_EXTRA_CA_CERTS']].filter((path) => path !== undefined);
  await writeFile(join(root, CERTIFICATES), (await Promise.all(certificates.map((path) => readFile(path)))).join('\n'));
  const registry = (await runCommand('npm', ['config', 'get', 'registry'])).trim();
  await writeFile(join(root, 'root/.npmrc'), `registry=${registry}\ncafile=/${CERTIFICATES}\n`);

  const cli = join(directory, 'cli');
  const plugin = join(cli, 'usr/local/libexec/docker/cli-plugins/docker-compose');
  await mkdir(join(cli, 'usr/local/bin'), { recursive: true });
  await mkdir(dirname(plugin), { recursive: true });
  await cp(findProgram('docker') ?? 'docker', join(cli, 'usr/local/bin/docker'));
  await cp(findProgram('docker-compose') ?? '/bin/true', plugin); // its place must be there; Debian has it apart
  return { BASE_IMAGE: await imported(docker, root, 'base'), DOCKER_CLI_IMAGE: await imported(docker, cli, 'cli') };
}

async function imported(docker: (...args: string[]) => Promise<string>, root: string, name: string): Promise<string> {
  const archive = `${root}.tar`;
  await runCommand('tar', ['--directory', root, '--create', '--file', archive, '.']);
  await docker('import', archive, `azaion-${name}:local`);
  return `azaion-${name}:local`;
}

/** The mirror that this machine's own packages come from. */
async function debianMirror(): Promise<string> {
  const policy = await runCommand('apt-cache', ['policy', 'base-files']);
  return /https?:\/\/\S+/.exec(policy)?.[0] ?? 'https://deb.debian.org/debian';
}
