import { hash } from 'node:crypto';

import { IdentityError } from '@azaion/identity';

import { memoryDirectory, openWorkDirectory } from '../work-directory/index.js';
import { type TpmAccess, TpmTools } from './tpm-tools.js';

const PREFIX = 'azaion-tpm-';

/** A TPM and the place in memory for one process's contexts, sessions, inputs and outputs. */
export interface TpmWork {
  readonly tools: TpmTools;
  /** Removes the place. */
  readonly close: () => Promise<void>;
}

/**
 * Begins to work with a TPM. What processes that were killed have left in memory is removed, and their sessions are taken out of the TPM.
 *
 * @param owner - Whose work it is: the directory of the key files.
 * @param roots - Where to look for memory; default: where systems have it.
 * @throws IdentityError `device.tpm-failed` where there is no place in memory: what passes through a file here, such as the secret of a grant,
 *   must not lie on a disk.
 */
export async function openTpmWork(access: TpmAccess, owner: string, roots?: readonly string[]): Promise<TpmWork> {
  const root = await memoryDirectory(roots);
  if (root === undefined)
    throw new IdentityError(
      'device.tpm-failed',
      'There is no writable directory in memory for what passes to and from the TPM: mount a tmpfs at /dev/shm.',
    );
  const { directory, left, remove } = await openWorkDirectory(root, PREFIX, `${hash('sha256', owner).slice(0, 16)}-`);
  for (const { directory: abandoned, discard } of left) {
    await new TpmTools(access, abandoned).exclusive(() => Promise.resolve());
    await discard();
  }
  return { tools: new TpmTools(access, directory), close: remove };
}
