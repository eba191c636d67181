import { IdentityError, parseRole, type Role } from '@azaion/identity';
import { type Clock, type Secret } from '@azaion/kernel';

import { type AuditLog } from '../audit/audit-log.js';
import { type Database } from '../persistence/database.js';
import { type LoginLimits } from './login-limits.js';
import { type PasswordHasher } from './password-hasher.js';
import { type IssuedTokens, type Sessions } from './sessions.js';

/** A login with a password. */
export interface Credentials {
  /** Untrusted. */
  readonly email: string;
  readonly password: Secret<string>;
  /** Network address of the request. */
  readonly address: string;
}

/** Somebody whose password was right. */
export interface KnownUser {
  readonly id: string;
  readonly email: string;
  readonly role: Role;
}

/** F1: logs somebody in with a password. Unknown, wrong, disabled, locked and enrolled-device accounts get one answer in one time. */
export class LogIn {
  constructor(
    private readonly database: Database,
    private readonly hasher: PasswordHasher,
    private readonly limits: LoginLimits,
    private readonly sessions: Sessions,
    private readonly audit: AuditLog,
    private readonly clock: Clock,
  ) {}

  /** @throws IdentityError `login.wrong-credentials` | `login.rate-limited`. */
  async run(credentials: Credentials): Promise<IssuedTokens> {
    const user = await this.authenticate(credentials, 'login');
    return this.database.transaction(async (on) => {
      await on
        .updateTable('users')
        .set({ last_login: new Date(this.clock.nowMs()) })
        .where('id', '=', user.id)
        .execute();
      await this.audit.record(on, {
        event: 'login.succeeded',
        actor: { id: user.id, address: credentials.address },
        subject: user.email,
      });
      return this.sessions.open(on, { ...user, deviceSerial: undefined });
    });
  }

  /**
   * Checks a password under the limits, without starting a session.
   *
   * @param purpose - For an enrolment the password of an enrolled or revoked device is still checked: its holder is told the device's state.
   * @throws as {@link run}.
   */
  async authenticate({ email, password, address }: Credentials, purpose: 'login' | 'enrolment'): Promise<KnownUser> {
    await this.limits.take(email, address);
    const locked = await this.limits.isLocked(email, address);
    const row = await this.database.queries
      .selectFrom('users')
      .leftJoin('devices', 'devices.user_id', 'users.id')
      .select(['users.id', 'users.email', 'users.role', 'users.password_hash', 'users.is_enabled', 'devices.status'])
      .where((where) => where(where.fn<string>('lower', ['users.email']), '=', email.toLowerCase()))
      .executeTakeFirst();
    const role = parseRole(row?.role);
    const armed = purpose === 'enrolment' || isPasswordArmed(row?.status ?? null);
    const usable = row !== undefined && !locked && row.is_enabled && role !== undefined && armed;
    const { correct, outdated } = await this.hasher.check(usable ? row.password_hash : undefined, password);
    if (!usable || !correct) {
      await this.limits.failed(email, address);
      await this.audit.record(this.database.queries, {
        event: 'login.failed',
        actor: { id: row?.id ?? 'unknown', address },
        subject: row?.email ?? 'unknown',
      });
      throw wrongCredentials();
    }
    await this.limits.succeeded(email, address);
    if (outdated) await this.replaceHash(row.id, row.password_hash, password);
    return { id: row.id, email: row.email, role };
  }

  private async replaceHash(userId: string, older: string, password: Secret<string>): Promise<void> {
    await this.database.queries
      .updateTable('users')
      .set({ password_hash: await this.hasher.hash(password) })
      .where('id', '=', userId)
      .where('password_hash', '=', older)
      .execute();
  }
}

/** The one answer to every failed login. */
export function wrongCredentials(): IdentityError {
  return new IdentityError('login.wrong-credentials', 'The e-mail address or the password is wrong.');
}

/** A device's password serves its enrolment and nothing after it. */
function isPasswordArmed(deviceStatus: string | null): boolean {
  return deviceStatus === null || deviceStatus === 'registered';
}
