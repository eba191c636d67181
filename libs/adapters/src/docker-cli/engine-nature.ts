import { UnlockError } from '@azaion/unlock';

import type { CliResult, ContainerCli } from './container-cli.js';
import { engineError } from './engine-error.js';

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
