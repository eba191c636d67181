import { IdentityError } from '@azaion/identity';

/** Response codes of a TPM that mean "later" (TCG Part 2, 6.6.3): memory for objects or sessions, yielded, testing, retry, NV unavailable. */
const BUSY = new Set([0x901, 0x902, 0x903, 0x904, 0x908, 0x90a, 0x920, 0x922, 0x923]);
/** Lockout; a wrong authorization that counts towards it. */
const LOCKOUT = new Set([0x921, 0x98e]);
/** `TPM2_PolicyAuthorize` met another state than was signed; a policy failed at its use; a comparison with the counter failed. */
const POLICY = new Set([0x1c4, 0x99d, 0x126]);
/** The private half does not belong to this parent: integrity. */
const FOREIGN = new Set([0x1df]);
const OWNER_PASSWORD = new Set([0x9a2]);

/** How a command of the tpm2-tools failed. */
export interface ToolFailure {
  readonly command: string;
  /** End of what it printed to standard error. */
  readonly stderr: string;
  readonly timedOut: boolean;
  /** `ENOENT` and the like when it could not be started. */
  readonly spawnCode?: string;
}

/** The TPM's own response code in what a tool printed; `undefined` when it never got to the TPM. */
export function responseCode(stderr: string): number | undefined {
  const codes = [...stderr.matchAll(/\(0x([0-9a-f]{1,8})\)/gi)].map((match) => Number.parseInt(match[1] ?? '', 16));
  return codes.at(-1);
}

/**
 * Turns a failure of a tool into what an operator can act on. What the tool printed is kept as the cause, for the log.
 */
export function tpmError(failure: ToolFailure): IdentityError {
  const cause = new Error(`tpm2 ${failure.command}: ${failure.stderr.trim() || 'no output'}`);
  const error = (code: ConstructorParameters<typeof IdentityError>[0], message: string): IdentityError =>
    new IdentityError(code, message, { cause });
  if (failure.spawnCode !== undefined)
    return error('device.tpm-absent', 'The program tpm2 cannot be started: install tpm2-tools.');
  if (failure.timedOut)
    return error('device.tpm-busy', 'The TPM did not answer in time: another program may hold it. Try again.');
  const code = responseCode(failure.stderr);
  if (code !== undefined) {
    if (BUSY.has(code)) return error('device.tpm-busy', 'The TPM is busy: try again.');
    if (LOCKOUT.has(code))
      return error(
        'device.tpm-lockout',
        'The TPM is locked after wrong passwords: wait for its recovery time, or have its owner reset the lockout.',
      );
    if (POLICY.has(code))
      return error(
        'device.tpm-policy',
        'The TPM does not permit the use of the device keys in this boot state: firmware or boot settings have changed. Install a signed boot policy for the new state, or boot the old one.',
      );
    if (FOREIGN.has(code))
      return error(
        'device.tpm-foreign',
        'The device keys were made in another TPM, or this TPM was cleared: have the device reset, remove the key files and enrol again.',
      );
    if (OWNER_PASSWORD.has(code))
      return error('device.tpm-failed', 'The owner of the TPM has set a password: clear it, or provision another TPM.');
  }
  if (/resource busy|EBUSY/i.test(failure.stderr))
    return error('device.tpm-busy', 'Another program holds the TPM: use its resource manager (/dev/tpmrm0).');
  if (/tcti|no such (?:file|device)|permission denied|failed to open/i.test(failure.stderr) && code === undefined)
    return error(
      'device.tpm-absent',
      /permission denied|operation not permitted/i.test(failure.stderr)
        ? 'This process may not open the TPM: add its user to the group of the device (usually tss).'
        : 'There is no TPM at the configured place: check TPM_TCTI, and that the device is passed into the container.',
    );
  return error('device.tpm-failed', 'The TPM refused an operation: the log has its answer.');
}
