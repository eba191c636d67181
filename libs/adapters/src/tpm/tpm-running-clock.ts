import { tmpdir } from 'node:os';

import { IdentityError } from '@azaion/identity';
import { type ClockReading, RunningClock } from '@azaion/split-resource';

import { memoryDirectory } from '../work-directory/index.js';
import type { TpmAccess } from './tpm-tools.js';
import { openTpmWorkIn, type TpmWork } from './tpm-work-directory.js';

/** Only what clears the TPM, and its keys with it, ends the era. */
const ERA = 'tpm';

/**
 * The clock of a TPM: it runs while the TPM has power, goes on where it stopped, and can be set ahead, never back. A power cut may cost it up
 * to 70 minutes, which it admits (`safe: no`). Source: TPM 2.0 Library, Part 1, "Clock".
 */
export class TpmRunningClock extends RunningClock {
  override readonly isLasting = true;

  private constructor(private readonly work: TpmWork) {
    super();
  }

  /** @throws IdentityError `device.tpm-…`. */
  static async open(access: TpmAccess, owner: string): Promise<TpmRunningClock> {
    // Nothing secret passes through it.
    return new TpmRunningClock(await openTpmWorkIn((await memoryDirectory()) ?? tmpdir(), access, `clock ${owner}`));
  }

  /** @throws IdentityError `device.tpm-…`. */
  override async read(): Promise<ClockReading> {
    const { tools } = this.work;
    const text = await tools.exclusive(() => tools.run('readclock'));
    const elapsedMs = Number(/^\s*clock:\s*([0-9]{1,16})\s*$/m.exec(text)?.[1] ?? NaN);
    if (!Number.isSafeInteger(elapsedMs))
      throw new IdentityError('device.tpm-failed', 'The TPM does not tell its clock: the log has its answer.', {
        cause: new Error(`tpm2 readclock: ${text}`),
      });
    return { elapsedMs, era: ERA, isExact: /^\s*safe:\s*yes\s*$/m.test(text) };
  }

  /** Removes what the process keeps in memory. */
  close(): Promise<void> {
    return this.work.close();
  }
}
