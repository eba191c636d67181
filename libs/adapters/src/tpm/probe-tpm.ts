import { IdentityError } from '@azaion/identity';

import { type TpmAccess } from './tpm-tools.js';
import { openTpmWork } from './tpm-work-directory.js';

/** Asks whether a TPM answers. @returns Why none can be used; `undefined` when one can. */
export async function probeTpm(access: TpmAccess): Promise<IdentityError | undefined> {
  try {
    const { tools, close } = await openTpmWork(access, 'probe');
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
