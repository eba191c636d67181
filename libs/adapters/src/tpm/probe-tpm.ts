import { tmpdir } from 'node:os';

import { IdentityError } from '@azaion/identity';

import { memoryDirectory } from '../work-directory/index.js';
import type { TpmAccess } from './tpm-tools.js';
import { openTpmWorkIn } from './tpm-work-directory.js';

/**
 * Asks whether a TPM answers. Nothing secret passes through it: a machine without a place in memory has a TPM nevertheless.
 *
 * @param roots - Where to look for memory; default: where systems have it.
 * @returns Why none can be used; `undefined` when one can.
 */
export async function probeTpm(access: TpmAccess, roots?: readonly string[]): Promise<IdentityError | undefined> {
  try {
    const root = (await memoryDirectory(roots)) ?? tmpdir();
    const { tools, close } = await openTpmWorkIn(root, access, 'probe');
    try {
      await tools.exclusive(() => tools.run('getcap', ['properties-fixed']));
      return undefined;
    } finally {
      await close();
    }
  } catch (error) {
    if (error instanceof IdentityError) return error;
    throw error;
  }
}
