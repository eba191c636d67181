import { randomBytes } from 'node:crypto';

import { IdentityError, parseRole } from '@azaion/identity';
import { toBase64Url } from '@azaion/kernel';
import type { GrantAnswer } from '@azaion/split-resource';

import { AdminError } from '../errors.js';
import type { Database } from '../persistence/database.js';
import type { Standing } from './current-standing.js';
import type { GrantRequest, GrantResource } from './grant-resource.js';

/** Most devices of one call. */
export const MAX_BATCH_DEVICES = 256;

/** A grant made for a device that did not ask for it. */
export interface DeviceGrant {
  readonly serial: string;
  readonly grant: GrantAnswer;
}

/**
 * Grants that an administrator makes for named devices, to be carried to them without a network. Each device must be one that would be
 * granted the version if it asked itself; each grant is sealed to that device's enrolled key, is a lease, and is recorded with the administrator's name.
 */
export class GrantForDevices {
  constructor(
    private readonly database: Database,
    private readonly grants: GrantResource,
  ) {}

  /**
   * @param granted - What they are granted, and for how long.
   * @param serials - 1 to {@link MAX_BATCH_DEVICES}, different.
   * @param actor - An ApiAdmin.
   * @throws AdminError `device.not-found`; IdentityError `device.not-enrolled` | `device.revoked` | `folder.forbidden` | `folder.attestation-required`;
   *   ResourceError `resource.not-found`. No device's grant is given out then.
   */
  async run(
    granted: Pick<GrantRequest, 'resource' | 'version' | 'leaseSeconds'>,
    serials: readonly string[],
    actor: Standing,
  ): Promise<readonly DeviceGrant[]> {
    const devices = await this.enrolled(serials, actor.address);
    const grants: DeviceGrant[] = [];
    for (const { standing, recipientPoint } of devices) {
      const nonce = toBase64Url(randomBytes(32)); // nobody asked, so nobody compares it
      const grant = await this.grants.run({ ...granted, recipientPoint, nonce }, standing, actor);
      grants.push({ serial: standing.deviceSerial ?? '', grant });
    }
    return grants;
  }

  private async enrolled(
    serials: readonly string[],
    address: string,
  ): Promise<readonly { readonly standing: Standing; readonly recipientPoint: Uint8Array }[]> {
    const rows = await this.database.queries
      .selectFrom('devices')
      .innerJoin('users', 'users.id', 'devices.user_id')
      .select(['serial', 'user_id', 'status', 'agreement_key', 'attested_at', 'users.role', 'users.is_enabled'])
      .where('serial', 'in', [...serials])
      .execute();
    return serials.map((serial) => {
      const row = rows.find((each) => each.serial === serial);
      if (row === undefined) throw new AdminError('device.not-found', `There is no device ${serial}.`);
      if (row.status === 'revoked') throw new IdentityError('device.revoked', `The device ${serial} has been revoked.`);
      const role = parseRole(row.role);
      if (row.status !== 'enrolled' || row.agreement_key === null || role === undefined || !row.is_enabled)
        throw new IdentityError(
          'device.not-enrolled',
          `The device ${serial} is not enrolled, or its account is disabled: there is no key to seal a grant to.`,
        );
      const attested = row.attested_at !== null;
      return {
        standing: { userId: row.user_id, role, deviceSerial: serial, attested, address },
        recipientPoint: row.agreement_key,
      };
    });
  }
}
