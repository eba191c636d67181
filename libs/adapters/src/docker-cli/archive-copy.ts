import { UnlockError } from '@azaion/unlock';

import { memoryDirectory, openWorkDirectory } from '../work-directory/index.js';
import type { CliResult, ContainerCli } from './container-cli.js';
import { engineError } from './engine-error.js';

const PREFIX = 'azaion-load-';

/** Whether, and where, an engine copies the archive into a temporary file before it looks at it. */
export type ArchiveCopy = 'none' | 'by-the-cli' | 'by-a-service';

/** An engine behind a CLI. */
export interface EngineNature {
  readonly copy: ArchiveCopy;
  /** Docker's own CLI speaks to docker's own engine. */
  readonly isDocker: boolean;
}

/**
 * Asks an engine what it is, and does. podman copies; docker and nerdctl do not; of others nobody knows. A command named `docker` may be podman's,
 * and one of docker's own may speak to podman's service.
 *
 * @throws UnlockError `unlock.engine-*` when the engine does not answer; `unlock.plaintext-on-disk` when it answers without saying what it
 *   is, or is none of these: who may copy the archive gets none.
 */
export async function engineNatureOf(cli: ContainerCli, signal: AbortSignal): Promise<EngineNature> {
  const own = await cli.run(['--version'], signal);
  if (own.exitCode !== 0) throw unknown(cli.command, own);
  if (/podman/i.test(own.stdout)) {
    const remote = await cli.run(['info', '--format', '{{.Host.ServiceIsRemote}}'], signal);
    if (remote.exitCode !== 0) throw unknown(cli.command, remote);
    return { copy: remote.stdout.trim() === 'false' ? 'by-the-cli' : 'by-a-service', isDocker: false };
  }
  if (/^nerdctl/i.test(own.stdout)) return { copy: 'none', isDocker: false };
  if (!/^docker/i.test(own.stdout)) throw unknown(cli.command, own);
  const served = await cli.run(['version', '--format', '{{range .Server.Components}}{{.Name}} {{end}}'], signal);
  if (served.exitCode !== 0) throw unknown(cli.command, served);
  const isDocker = !/podman/i.test(served.stdout);
  return { copy: isDocker ? 'none' : 'by-a-service', isDocker };
}

/** What the command printed tells an engine that is away, forbidden or full from one that only does not say what it is. */
function unknown(command: string, result: CliResult): UnlockError {
  const error = engineError(command, result);
  if (error.code !== 'unlock.engine-failed' && error.code !== 'unlock.archive-invalid') return error;
  return new UnlockError(
    'unlock.plaintext-on-disk',
    'The container engine does not say that it is docker, podman or nerdctl, and might copy the decrypted archive onto a disk. Look at what its CLI answers to "--version", "version" and "info", or name another one with CONTAINER_CLI.',
    { cause: error.cause },
  );
}

/**
 * Gives a CLI a place in memory for its copy of the archive: plaintext that must not outlive the load, also when the CLI is killed. What
 * processes that were killed have left is taken away first.
 *
 * @param roots - Where to look for such a place; default: where systems have one.
 * @param load - Gets what the CLI must find in its environment.
 * @throws UnlockError `unlock.plaintext-on-disk` when the copy would lie on a disk.
 */
export async function withArchiveCopy<T>(
  copy: ArchiveCopy,
  roots: readonly string[] | undefined,
  load: (env: Readonly<Record<string, string>>) => Promise<T>,
): Promise<T> {
  if (copy === 'none') return load({});
  if (copy === 'by-a-service')
    throw new UnlockError(
      'unlock.plaintext-on-disk',
      "podman's service copies the decrypted archive onto a disk. Let the Loader start podman itself: CONTAINER_CLI=podman, without CONTAINER_HOST or DOCKER_HOST.",
    );
  const root = await memoryDirectory(roots);
  if (root === undefined)
    throw new UnlockError(
      'unlock.plaintext-on-disk',
      'podman copies the decrypted archive into a temporary file, and there is no writable directory in memory for it. Mount a tmpfs at /dev/shm that has room for the archive.',
    );
  const { directory, left, remove } = await openWorkDirectory(root, PREFIX);
  try {
    for (const { discard } of left) await discard();
    return await load({ TMPDIR: directory });
  } finally {
    await remove();
  }
}
