import { cp, mkdir, readFile, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';

import { COMPONENTS, findProgram, runCommand } from '@azaion/testing';

import { debianMirror, takeDebianProgram } from '../setup/debian-program.js';
import { WORKSPACE } from '../started-service.js';
import { type Architecture, OWN_ARCHITECTURE } from './emulation.js';

const BOOTSTRAP_TIMEOUT_MS = 30 * 60_000;
const CERTIFICATES = 'etc/ssl/certs/ca-certificates.crt';

/** Images that another registry would otherwise provide, by the names of the Dockerfile's build arguments. */
export interface LocalBase {
  /** A Debian with Node and npm. */
  readonly BASE_IMAGE: string;
  /** A Docker CLI and its compose. */
  readonly DOCKER_CLI_IMAGE: string;
}

/**
 * Makes what another registry would otherwise provide, from this machine and its Debian mirror, and pushes it. The base trusts what this machine trusts, so that `npm ci` and
 * `apt-get` work inside of it. For another processor its programs must run here, see `emulate`.
 *
 * @param docker - Runs the Docker CLI against the engine that gets the images.
 * @param directory - Room for a root file system, about 600 MB; nothing is left of it.
 * @param registry - Host and port of a registry at which the CLI is logged in.
 */
export async function makeLocalBase(
  docker: (...args: string[]) => Promise<string>,
  directory: string,
  architecture: Architecture,
  registry: string,
): Promise<LocalBase> {
  if (findProgram('debootstrap') === undefined)
    throw new Error('debootstrap is missing; on Debian: apt-get install debootstrap');
  const root = join(directory, `base-${architecture}`);
  await mkdir(root);
  // In memory, because the package manager waits for the disk after each file.
  await runCommand('mount', ['-t', 'tmpfs', '-o', 'size=3g,mode=755', 'tmpfs', root]);
  try {
    return await makeIn(root, docker, directory, architecture, registry);
  } finally {
    await runCommand('umount', ['--lazy', root]);
  }
}

async function makeIn(
  root: string,
  docker: (...args: string[]) => Promise<string>,
  directory: string,
  architecture: Architecture,
  host: string,
): Promise<LocalBase> {
  await runCommand(
    'debootstrap',
    [`--arch=${architecture}`, '--variant=minbase', 'bookworm', root, await debianMirror()],
    BOOTSTRAP_TIMEOUT_MS,
  );
  await rm(join(root, 'var/cache/apt/archives'), { recursive: true });
  await mkdir(join(root, 'var/cache/apt/archives/partial'), {
    recursive: true,
  });
  await cp(await nodeFor(architecture, directory), join(root, 'usr/local/bin/node'));
  await cp(await npmDirectory(), join(root, 'usr/local/lib/node_modules/npm'), {
    recursive: true,
  });
  for (const name of ['npm', 'npx'])
    await symlink(`../lib/node_modules/npm/bin/${name}-cli.js`, join(root, 'usr/local/bin', name));
  const certificates = [`/${CERTIFICATES}`, process.env['NODE_EXTRA_CA_CERTS']].filter((path) => path !== undefined);
  // Not by the package that has it: its set-up takes an emulated processor many minutes.
  await mkdir(dirname(join(root, CERTIFICATES)), { recursive: true });
  await writeFile(join(root, CERTIFICATES), (await Promise.all(certificates.map((path) => readFile(path)))).join('\n'));
  const registry = (await runCommand('npm', ['config', 'get', 'registry'])).trim();
  await writeFile(join(root, 'root/.npmrc'), `registry=${registry}\ncafile=/${CERTIFICATES}\n`);

  const cli = join(directory, `cli-${architecture}`);
  const { debianPackages, extracted } = COMPONENTS.composePlugin;
  const client = { packageName: 'docker-cli', path: 'usr/bin/docker', architecture };
  await takeDebianProgram(client, join(cli, 'usr/local/bin/docker'));
  await takeDebianProgram(
    { packageName: debianPackages[0], path: extracted.path, architecture },
    join(cli, extracted.place),
  );
  const base = {
    BASE_IMAGE: await imageOf(docker, root, `${host}/azaion-base:${architecture}`, architecture),
    DOCKER_CLI_IMAGE: await imageOf(docker, cli, `${host}/azaion-docker-cli:${architecture}`, architecture),
  };
  await rm(cli, { recursive: true });
  return base;
}

/** Where npm lies: above `bin/npm-cli.js`. */
async function npmDirectory(): Promise<string> {
  return dirname(dirname(await realpath(findProgram('npm') ?? 'npm')));
}

/** The Node that the workspace brings for this machine, or the same release for another one. */
async function nodeFor(architecture: Architecture, directory: string): Promise<string> {
  const own = join(WORKSPACE, 'node_modules', 'node');
  if (architecture === OWN_ARCHITECTURE) return join(own, 'bin', 'node');
  const { version } = JSON.parse(await readFile(join(own, 'package.json'), 'utf8')) as { readonly version: string };
  const name = `node-linux-${architecture === 'amd64' ? 'x64' : 'arm64'}`;
  const place = join(directory, `node-${architecture}`);
  await mkdir(place, { recursive: true });
  await writeFile(join(place, 'package.json'), '{}');
  const install = ['install', '--prefix', place, '--no-save', '--force', '--ignore-scripts', `${name}@${version}`];
  await runCommand('npm', install, BOOTSTRAP_TIMEOUT_MS);
  return join(place, 'node_modules', name, 'bin', 'node');
}

/** An image of this one layer. Built and not imported, because an import takes every image for one of this machine's processor. */
async function imageOf(
  docker: (...args: string[]) => Promise<string>,
  root: string,
  name: string,
  architecture: Architecture,
): Promise<string> {
  const context = `${root}-context`;
  await mkdir(context);
  await runCommand('tar', ['--directory', root, '--create', '--file', join(context, 'root.tar'), '.']);
  await writeFile(join(context, 'Dockerfile'), 'FROM scratch\nADD root.tar /\n');
  await docker('build', '--platform', `linux/${architecture}`, '--tag', name, context);
  await docker('push', name);
  await rm(context, { recursive: true });
  return name;
}
