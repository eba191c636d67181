import { IdentityError, PCR_BYTES, pcrDigestOf, type PcrSelection, pcrSelectionText } from '@azaion/identity';

import { takeFile } from './tpm-files.js';
import type { TpmAccess } from './tpm-tools.js';
import { openTpmWork } from './tpm-work-directory.js';

/** What a TPM says about the boot and about itself. */
export interface TpmInspection {
  /** SHA-256 over the values of the registers that were asked for. */
  readonly pcrDigest: Uint8Array;
  /** Registers among them that nothing was measured into: they protect nothing. */
  readonly zeroPcrs: PcrSelection;
  /** Whether it refuses what is guarded by passwords. Device keys are not. */
  readonly isLockedOut: boolean;
}

/** Looks at a TPM without changing it. @throws IdentityError `device.tpm-…`. */
export async function inspectTpm(access: TpmAccess, pcrs: PcrSelection): Promise<TpmInspection> {
  const { tools, close } = await openTpmWork(access, 'inspect');
  try {
    return await tools.exclusive(async () => {
      const properties = await tools.run('getcap', ['properties-variable']);
      await tools.run('pcrread', ['-o', 'pcrs.bin', pcrSelectionText(pcrs)]);
      const bytes = await takeFile(tools, 'pcrs.bin');
      const values = pcrs.map((_, at) => bytes.subarray(at * PCR_BYTES, (at + 1) * PCR_BYTES));
      if (values.some(({ length }) => length !== PCR_BYTES))
        throw new IdentityError(
          'device.tpm-failed',
          'The TPM has no SHA-256 registers: enable that bank in the firmware.',
        );
      return {
        pcrDigest: pcrDigestOf(values),
        zeroPcrs: pcrs.filter((_, at) => values[at]?.every((byte) => byte === 0) === true),
        isLockedOut: /inLockout:\s*1/.test(properties),
      };
    });
  } finally {
    await close();
  }
}
