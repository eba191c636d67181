import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { join } from 'node:path';
import { runCommand } from './run-command.js';
import { startProcess } from './running-process.js';
import { tempDirectory } from './temp-directory.js';

/** A Docker engine with no images, apart from any other on the machine. */
export interface DockerDaemon {
  /** For `DOCKER_HOST`: a Unix socket. */
  readonly dockerHost: string;
  readonly pid: number;
  /** Where it stores images; everything it unpacks lies below. */
  readonly dataRoot: string;
  /** Where it keeps run-time state and temporary files of containers. */
  readonly execRoot: string;
  /** What it has logged so far. */
  output(): string;
  /** Stops it and deletes its data. */
  stop(): Promise<void>;
}

/**
 * Starts `dockerd` from a directory of its own: no bridge, no firewall rules, no network beyond its socket. Needs root.
 * Containers run with `--network none`.
 *
 * @throws Error with its output when it does not answer.
 */
export async function startDockerd(): Promise<DockerDaemon> {
  const directory = await tempDirectory('azaion-docker');
  const dataRoot = join(directory.path, 'data');
  const execRoot = join(directory.path, 'exec');
  const socket = join(directory.path, 'docker.sock');
  // An empty configuration of its own: the machine's /etc/docker/daemon.json must not reach it.
  const configuration = join(directory.path, 'daemon.json');
  await writeFile(configuration, '{}');
  for (const path of [dataRoot, execRoot]) await mkdir(path);
  const clean = async (): Promise<void> => {
    await detachMounts(directory.path);
    await directory.remove();
  };
  try {
    const daemon = await startProcess({
      command: 'dockerd',
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
    return {
      dockerHost: `unix://${socket}`,
      pid: daemon.pid,
      dataRoot,
      execRoot,
      output: () => daemon.output(),
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

/** A daemon that was killed leaves overlay and namespace mounts, which would keep its directory from being deleted. */
async function detachMounts(directory: string): Promise<void> {
  const mounts = (await readFile('/proc/mounts', 'utf8')).split('\n').flatMap((line) => line.split(' ')[1] ?? []);
  for (const path of mounts.filter((mount) => mount.startsWith(`${directory}/`)).toReversed()) {
    await runCommand('umount', ['--lazy', path]);
  }
}
