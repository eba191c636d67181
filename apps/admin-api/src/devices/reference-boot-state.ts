import { type AttestationRules, IdentityError, type PcrSelection } from '@azaion/identity';
import { toHex } from '@azaion/kernel';

import type { Queries } from '../persistence/database.js';

/** Values of registers in hexadecimal, by their numbers. */
export type Registers = Readonly<Record<string, string>>;

/** What a TPM has quoted, to be kept. @param values - Of the registers, in their order. */
export function registersOf(pcrs: PcrSelection, values: readonly Uint8Array[]): Registers {
  return Object.fromEntries(pcrs.map((pcr, at) => [String(pcr), toHex(values[at] ?? new Uint8Array())]));
}

/** A device that has shown what it booted into. */
export interface BootedDevice {
  readonly deviceId: string;
  /** The TPM. With another one a device is as new. */
  readonly endorsementName: Buffer;
  readonly registers: Registers;
}

/**
 * The policy `accept-first`: the state that a device is first attested in is its reference, and every later enrolment with the same TPM must
 * show the same, also after a reset, unless that said otherwise. With `allow-list` nothing is compared; what was accepted becomes the reference
 * all the same. Registers that the reference lacks, because they were not required then, are added to it.
 *
 * @param on - The transaction that enrols the device.
 * @throws IdentityError `attestation.pcr-refused`.
 */
export async function keepReference(
  on: Queries,
  { deviceId, endorsementName, registers }: BootedDevice,
  { allowedPcrDigests, pcrs }: AttestationRules,
  now: Date,
): Promise<void> {
  const known = await on
    .selectFrom('reference_boot_states')
    .select(['endorsement_name', 'registers'])
    .where('device_id', '=', deviceId)
    .executeTakeFirst();
  const reference = known?.endorsement_name.equals(endorsementName) === true ? known.registers : {};
  const changed = pcrs.filter((pcr) => reference[pcr] !== undefined && reference[pcr] !== registers[pcr]);
  if (changed.length > 0 && allowedPcrDigests === undefined)
    throw new IdentityError(
      'attestation.pcr-refused',
      `This device has booted into another state than the one it was first attested in (registers ${changed.join(', ')}). If that is an update of yours, an administrator resets it for a new boot state.`,
      { details: { registers: changed.join(',') } },
    );
  const row = {
    endorsement_name: endorsementName,
    registers: JSON.stringify({ ...reference, ...registers }),
    recorded_at: now,
  };
  await on
    .insertInto('reference_boot_states')
    .values({ device_id: deviceId, ...row })
    .onConflict((conflict) => conflict.column('device_id').doUpdateSet(row))
    .execute();
}
