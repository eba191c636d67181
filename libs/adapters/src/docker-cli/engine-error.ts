import { UnlockError, type UnlockErrorCode } from '@azaion/unlock';

import type { CliResult } from './container-cli.js';

interface Diagnosis {
  readonly pattern: RegExp;
  readonly code: UnlockErrorCode;
  readonly message: string;
}

/**
 * First match counts. Wordings of docker 20.10 to 29, podman 4 and 5, nerdctl. What is said of a layer may hold names of files in it, and with
 * them any words: such a message is told by its beginning, and a full disk by its end.
 */
const DIAGNOSES: readonly Diagnosis[] = [
  {
    pattern: /(?:no space left on device|disk quota exceeded|not enough space)\W*$/im,
    code: 'unlock.no-space',
    message: "The container engine's disk is full. Remove images that are not needed, then start again.",
  },
  {
    pattern:
      /(?:processing tar|register layer|apply(?:ing )?layer).*unexpected EOF|archive\/tar|invalid tar|not a valid|payload does not match|unrecognized image format|no such file or directory.*manifest|invalid manifest|invalid diffID/i,
    code: 'unlock.archive-invalid',
    message: 'The container engine refused the archive: it is incomplete or not an image archive.',
  },
  {
    pattern: /processing tar|register layer|apply(?:ing )?layer/i,
    code: 'unlock.engine-failed',
    message: 'The container engine could not unpack a layer of an image. Look at its log.',
  },
  {
    pattern: /permission denied|operation not permitted/i,
    code: 'unlock.engine-forbidden',
    message: 'This process may not use the container engine. Give its user access to the engine.',
  },
  {
    pattern:
      /cannot connect|is the docker daemon running|error during connect|connection (?:refused|reset)|unable to connect|failed to connect|broken pipe|\bEOF\b/i,
    code: 'unlock.engine-unreachable',
    message: 'The container engine does not answer. Start it, then start the unlock again.',
  },
];

/** Puts what a CLI printed into words. Its own text is kept as the cause, for the log only. */
export function engineError(command: string, result: CliResult): UnlockError {
  const cause = new Error(`${command} ended with ${String(result.exitCode)}: ${result.stderr.trim().slice(-2000)}`);
  const diagnosis = DIAGNOSES.find(({ pattern }) => pattern.test(result.stderr));
  return new UnlockError(
    diagnosis?.code ?? 'unlock.engine-failed',
    diagnosis?.message ?? 'The container engine reported an error. Look at its log.',
    { cause },
  );
}
