import { type Caller, IdentityError, parseRole, type Role, type TokenVerifier } from '@azaion/identity';

import { type Actor } from '../audit/audit-log.js';
import { type ManageDevices } from '../devices/manage-devices.js';
import { AdminError } from '../errors.js';
import { type Database } from '../persistence/database.js';

/** Who calls, as the database knows them right now; a token may be older than a change. */
export interface Standing {
  readonly userId: string;
  readonly role: Role;
  /** The calling device's serial; `undefined` for a person. */
  readonly deviceSerial: string | undefined;
  /** Network address of the request. */
  readonly address: string;
}

/** Checks callers against the current state of their accounts and devices: a disabled user or revoked device is refused at once. */
export class CurrentStanding {
  constructor(
    private readonly database: Database,
    private readonly devices: ManageDevices,
    private readonly verifier: TokenVerifier,
  ) {}

  /**
   * @param caller - From the verified access token.
   * @param carrierToken - The access token of the device whose Loader carries a person's call, untrusted.
   * @throws AdminError `user.disabled`; IdentityError `device.not-enrolled` | `device.revoked` | `token.invalid` | `token.expired`.
   */
  async of(caller: Caller, carrierToken: string | undefined, address: string): Promise<Standing> {
    const user = await this.database.queries
      .selectFrom('users')
      .select(['role', 'is_enabled'])
      .where('id', '=', caller.userId)
      .executeTakeFirst();
    const role = parseRole(user?.role);
    if (!user?.is_enabled || role === undefined)
      throw new AdminError('user.disabled', 'This account is not in use any more: ask an administrator.');
    if (role === 'CompanionPC' && caller.deviceSerial === undefined)
      throw new IdentityError('device.not-enrolled', 'A device must be enrolled and log in with its own key.');
    if (caller.deviceSerial !== undefined) await this.devices.assertEnrolled(caller.deviceSerial);
    if (carrierToken !== undefined) await this.assertCarrier(carrierToken);
    return { userId: caller.userId, role, deviceSerial: caller.deviceSerial, address };
  }

  private async assertCarrier(token: string): Promise<void> {
    const carrier = await this.verifier.verify(token);
    if (carrier.deviceSerial === undefined)
      throw new IdentityError('device.not-enrolled', 'The call was not carried by an enrolled device.');
    await this.devices.assertEnrolled(carrier.deviceSerial);
  }
}

/** The caller as the audit log names it. */
export function actorOf({ userId, address }: Standing): Actor {
  return { id: userId, address };
}
