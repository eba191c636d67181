import { rm } from 'node:fs/promises';

import { IdentityError } from '@azaion/identity';

import { type TpmAccess, TpmTools } from './tpm-tools.js';
import { openWorkDirectory } from './tpm-work-directory.js';

/** Asks whether a TPM answers. @returns Why none can be used; `undefined` when one can. */
export async function probeTpm(access: TpmAccess): Promise<IdentityError | undefined> {
  const { directory } = await openWorkDirectory('probe');
  const tools = new TpmTools(access, directory);
  try {
    await tools.exclusive(() => tools.run('getcap', ['properties-fixed']));
    return undefined;
  } catch (error) {
    if (error instanceof IdentityError) return error;
    throw error;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
