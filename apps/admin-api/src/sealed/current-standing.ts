import { type Caller, IdentityError, parseRole, type Role, type TokenVerifier } from '@azaion/identity';
import type { Clock } from '@azaion/kernel';

import type { Actor } from '../audit/audit-log.js';
import { AdminError } from '../errors.js';
import type { Database } from '../persistence/database.js';
import type { DevicesTable, SessionsTable, UsersTable } from '../persistence/schema.js';

const CALLER = {
  name: 'caller-standing',
  text: `
    select users.role, users.is_enabled, devices.status, devices.attested_at, sessions.revoked_at, sessions.ends_at
    from users
    left join sessions on sessions.user_id = users.id and sessions.id = $2
    left join devices on devices.user_id = users.id and devices.serial = $3
    where users.id = $1`,
};

type CallerRow = Pick<UsersTable, 'role' | 'is_enabled'> & {
  readonly status: DevicesTable['status'] | null;
  readonly attested_at: Date | null;
  readonly revoked_at: SessionsTable['revoked_at'];
  readonly ends_at: Date | null;
};

/** Who calls, as the database knows them right now; a token may be older than a change. */
export interface Standing {
  readonly userId: string;
  readonly role: Role;
  /** The calling device's serial; `undefined` for a person. */
  readonly deviceSerial: string | undefined;
  /** Whether the calling device, or the one whose Loader carries the call, has proved where its keys live. */
  readonly attested: boolean;
  /** Network address of the request. */
  readonly address: string;
}

/** Checks callers against the current state of their accounts, sessions and devices: a disabled user, an ended session or a revoked device is refused at once. */
export class CurrentStanding {
  constructor(
    private readonly database: Database,
    private readonly verifier: TokenVerifier,
    private readonly clock: Clock,
  ) {}

  /**
   * @param caller - From the verified access token.
   * @throws AdminError `user.disabled`; IdentityError `device.not-enrolled` | `device.revoked` | `token.invalid`.
   */
  async of(caller: Caller, address: string): Promise<Standing> {
    const { role, attested } = await this.current(caller);
    // A role's change ends the sessions; a token that says otherwise is older than that.
    if (role !== caller.role) throw sessionEnded();
    return { userId: caller.userId, role, deviceSerial: caller.deviceSerial, attested, address };
  }

  /**
   * The same caller when a device's Loader carries the call: both must be in good standing.
   *
   * @param carrierToken - The device's access token, untrusted.
   * @throws as {@link of}, for the device; IdentityError `token.expired`.
   */
  async carried(standing: Standing, carrierToken: string): Promise<Standing> {
    const carrier = await this.verifier.verify(carrierToken);
    if (carrier.deviceSerial === undefined)
      throw new IdentityError('device.not-enrolled', 'The call was not carried by an enrolled device.');
    const { attested } = await this.current(carrier);
    return standing.deviceSerial === undefined ? { ...standing, attested } : standing;
  }

  private async current({ userId, sessionId, deviceSerial }: Caller): Promise<{ role: Role; attested: boolean }> {
    const [found] = await this.database.prepared<CallerRow>(CALLER, [userId, sessionId, deviceSerial ?? null]);
    const role = parseRole(found?.role);
    if (!found?.is_enabled || role === undefined)
      throw new AdminError('user.disabled', 'This account is not in use any more: ask an administrator.');
    if (deviceSerial !== undefined) assertEnrolled(found.status);
    const ended = found.revoked_at !== null || (found.ends_at?.getTime() ?? 0) <= this.clock.nowMs();
    if (ended) throw sessionEnded();
    return { role, attested: found.attested_at !== null };
  }
}

function sessionEnded(): IdentityError {
  return new IdentityError('token.invalid', 'This session has ended: log in again.');
}

function assertEnrolled(status: DevicesTable['status'] | null): void {
  if (status === 'revoked')
    throw new IdentityError('device.revoked', 'This device has been revoked: ask an administrator.');
  if (status !== 'enrolled') throw new IdentityError('device.not-enrolled', 'This device is not enrolled.');
}

/** The caller as the audit log names it. */
export function actorOf({ userId, address }: Standing): Actor {
  return { id: userId, address };
}
