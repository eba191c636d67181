import { execFileSync } from 'node:child_process';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { join } from 'node:path';
import { COMPONENTS, findProgram } from './components.js';
import { runCommand } from './run-command.js';
import { type RunningProcess, startProcess } from './running-process.js';
import { mountSmallDisk } from './small-disk.js';
import { tempDirectory } from './temp-directory.js';

/** A Docker engine with no images, apart from any other on the machine. */
export interface DockerDaemon {
  /** For `DOCKER_HOST`: a Unix socket. */
  readonly dockerHost: string;
  /** Of the process that runs now. */
  readonly pid: number;
  /** Where it stores images; everything it unpacks lies below. */
  readonly dataRoot: string;
  /** Where it keeps run-time state and temporary files of containers. */
  readonly execRoot: string;
  /** Runs a `docker` command with it. @returns What that printed, trimmed. @throws Error when it fails. */
  cli(...args: string[]): string;
  /** The same where bytes go in or come out. */
  cliBytes(args: readonly string[], input?: Buffer): Buffer;
  /** Identifiers of all containers, running or not. */
  containers(): readonly string[];
  /** Ends and removes all containers: they would outlive it. */
  removeContainers(): void;
  /** What it has logged so far. */
  output(): string;
  /** Kills it at once, as a power cut would, and starts it again on what it has stored. */
  killAndRestart(): Promise<void>;
  /** Stops it and deletes its data. */
  stop(): Promise<void>;
}

const MAX_CLI_OUTPUT_BYTES = 64 * 1024 * 1024;

/** How an engine differs from the default. */
export interface DockerDaemonOptions {
  /** Its storage is a file system of so many bytes; without it as large as the disk. */
  readonly storageBytes?: number;
  /** Keeps images of several processors under one name, and builds them at once: the component `platformsEngine`. */
  readonly isForPlatforms?: boolean;
}

/**
 * Starts `dockerd` from a directory of its own: no bridge, no firewall rules, no network beyond its socket. Needs root.
 * Containers run with `--network none`.
 *
 * @throws Error with its output when it does not answer.
 */
export async function startDockerd({
  storageBytes,
  isForPlatforms = false,
}: DockerDaemonOptions = {}): Promise<DockerDaemon> {
  const command = isForPlatforms ? (findProgram(COMPONENTS.platformsEngine.programs[0]) ?? 'dockerd') : 'dockerd';
  const directory = await tempDirectory('azaion-docker');
  const dataRoot = join(directory.path, 'data');
  const execRoot = join(directory.path, 'exec');
  const socket = join(directory.path, 'docker.sock');
  // A configuration of its own: the machine's /etc/docker/daemon.json must not reach it.
  const configuration = join(directory.path, 'daemon.json');
  await writeFile(configuration, isForPlatforms ? '{"features":{"containerd-snapshotter":true}}' : '{}');
  for (const path of [dataRoot, execRoot]) await mkdir(path);
  const clean = async (): Promise<void> => {
    await detachMounts(directory.path);
    await directory.remove();
  };
  const start = (): Promise<RunningProcess> =>
    startProcess({
      command,
      args: [
        ...['--config-file', configuration],
        ...['--data-root', dataRoot, '--exec-root', execRoot, '--pidfile', join(directory.path, 'pid')],
        ...['-H', `unix://${socket}`, '--bridge=none'],
        ...['--iptables=false', '--ip6tables=false', '--ip-forward=false', '--ip-masq=false'],
      ],
      env: { DOCKER_HOST: undefined, PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin` },
      ready: () => answersPing(socket),
      stopTimeoutMs: 20_000,
    });
  const dockerHost = `unix://${socket}`;
  const cliBytes = (args: readonly string[], input?: Buffer): Buffer =>
    execFileSync('docker', args, {
      env: { ...process.env, DOCKER_HOST: dockerHost },
      maxBuffer: MAX_CLI_OUTPUT_BYTES,
      stdio: ['pipe', 'pipe', 'pipe'],
      input: input ?? '',
    });
  const cli = (...args: string[]): string => cliBytes(args).toString().trim();
  const containers = (): readonly string[] => cli('ps', '--all', '--quiet').split('\n').filter(Boolean);
  try {
    if (storageBytes !== undefined) await mountSmallDisk(dataRoot, storageBytes);
    let daemon = await start();
    return {
      dockerHost,
      get pid() {
        return daemon.pid;
      },
      dataRoot,
      execRoot,
      cli,
      cliBytes,
      containers,
      removeContainers: () => {
        const ids = containers();
        if (ids.length > 0) cli('rm', '--force', ...ids);
      },
      output: () => daemon.output(),
      killAndRestart: async () => {
        daemon.kill('SIGKILL');
        await daemon.ended;
        // Its own containerd survives it, as it would not survive a power cut.
        await killContainerd(execRoot);
        await rm(join(directory.path, 'pid'), { force: true });
        daemon = await start();
      },
      stop: async () => {
        await daemon.stop();
        await clean();
      },
    };
  } catch (cause) {
    await clean();
    throw cause;
  }
}

function answersPing(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    request({ socketPath, path: '/_ping', timeout: 2000 }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    })
      .once('error', () => resolve(false))
      .end();
  });
}

async function killContainerd(execRoot: string): Promise<void> {
  const pidFile = join(execRoot, 'containerd', 'containerd.pid');
  const pid = Number(await readFile(pidFile, 'utf8').catch(() => ''));
  if (Number.isSafeInteger(pid) && pid > 1 && isAlive(pid)) process.kill(pid, 'SIGKILL');
  // Until its parent has taken notice of its end it still looks alive.
  await rm(pidFile, { force: true });
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

/** A daemon that was killed leaves overlay and namespace mounts, which would keep its directory from being deleted. */
async function detachMounts(directory: string): Promise<void> {
  const mounts = (await readFile('/proc/mounts', 'utf8')).split('\n').flatMap((line) => line.split(' ')[1] ?? []);
  for (const path of mounts.filter((mount) => mount.startsWith(`${directory}/`)).toReversed()) {
    await runCommand('umount', ['--lazy', path]);
  }
}
