import { hash } from 'node:crypto';

import { IdentityError } from '@azaion/identity';

import { memoryDirectory, openWorkDirectory } from '../work-directory/index.js';
import { type TpmAccess, TpmTools } from './tpm-tools.js';

/** A TPM and the place for one process's contexts, sessions, inputs and outputs. */
export interface TpmWork {
  readonly tools: TpmTools;
  /** Removes the place. */
  readonly close: () => Promise<void>;
}

/**
 * Begins to work with a TPM. What processes that were killed have left in memory is removed, and their sessions are taken out of the TPM;
 * what belongs to another TPM is left to who works with that.
 *
 * @param owner - Whose work it is: the directory of the key files.
 * @throws IdentityError `device.tpm-failed` where there is no place in memory: what passes through a file here, such as the secret of a grant,
 *   must not lie on a disk.
 */
export async function openTpmWork(access: TpmAccess, owner: string): Promise<TpmWork> {
  const root = await memoryDirectory();
  if (root === undefined)
    throw new IdentityError(
      'device.tpm-failed',
      'There is no writable directory in memory for what passes to and from the TPM: mount a tmpfs at /dev/shm.',
    );
  return openTpmWorkIn(root, access, owner);
}

/**
 * As {@link openTpmWork}, in a directory that may lie on a disk: for work through which nothing secret passes.
 *
 * @param root - Absolute and short.
 */
export async function openTpmWorkIn(root: string, access: TpmAccess, owner: string): Promise<TpmWork> {
  const prefix = `azaion-tpm-${hash('sha256', access.tcti).slice(0, 8)}-`;
  const { directory, left, remove } = await openWorkDirectory(root, prefix, `${hash('sha256', owner).slice(0, 16)}-`);
  try {
    for (const { directory: abandoned, discard } of left) {
      await new TpmTools(access, abandoned).exclusive(() => Promise.resolve());
      await discard();
    }
  } catch (error) {
    await remove();
    throw error;
  }
  return { tools: new TpmTools(access, directory), close: remove };
}
