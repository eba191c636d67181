import { IdentityError, parseRole, type Role } from '@azaion/identity';
import type { Clock, Secret } from '@azaion/kernel';

import type { AuditLog } from '../audit/audit-log.js';
import { AdminError } from '../errors.js';
import type { Database } from '../persistence/database.js';
import type { LoginLimits } from './login-limits.js';
import type { PasswordHasher } from './password-hasher.js';
import type { IssuedTokens, Sessions } from './sessions.js';

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
  /** The stored form that the password was checked against. */
  readonly passwordHash: string;
}

/** How failed logins are answered. */
export interface LogInSettings {
  /** As the older API did, which tells unknown, wrong and disabled apart. */
  readonly legacyErrors: boolean;
}

/** Why a password was not accepted. */
type Refusal = 'unknown' | 'wrong' | 'disabled';

/** F1: logs somebody in with a password. Unknown, wrong, disabled, locked and enrolled-device accounts get one answer in one time. */
export class LogIn {
  constructor(
    private readonly database: Database,
    private readonly hasher: PasswordHasher,
    private readonly limits: LoginLimits,
    private readonly sessions: Sessions,
    private readonly audit: AuditLog,
    private readonly clock: Clock,
    private readonly settings: LogInSettings,
  ) {}

  /** @throws IdentityError `login.wrong-credentials` | `login.rate-limited`; in the older way AdminError `login.no-such-account` | `login.wrong-password` | `login.account-disabled`. */
  async run(credentials: Credentials): Promise<IssuedTokens> {
    // Once more when the stored password was replaced meanwhile: by its holder, or by another login that stored it anew.
    return (await this.open(credentials)) ?? (await this.open(credentials)) ?? Promise.reject(wrongCredentials());
  }

  private async open(credentials: Credentials): Promise<IssuedTokens | undefined> {
    const user = await this.attempt(credentials, 'login');
    if (typeof user === 'string') throw this.settings.legacyErrors ? legacyError(user) : wrongCredentials();
    const key = await this.sessions.tokenKey();
    return this.database.transaction(async (on) => {
      // Whoever revokes or enrols the device meanwhile ends the session that begins here, or forestalls it.
      const device = await on
        .selectFrom('devices')
        .select('status')
        .where('user_id', '=', user.id)
        .forShare()
        .executeTakeFirst();
      if (!isPasswordArmed(device?.status ?? null)) return undefined;
      // The row's lock: whoever disables the account or changes its role or password ends the session that begins here, or forestalls it.
      const current = await on
        .updateTable('users')
        .set({ last_login: new Date(this.clock.nowMs()) })
        .where('id', '=', user.id)
        .where('is_enabled', '=', true)
        .where('password_hash', '=', user.passwordHash)
        .returning('role')
        .executeTakeFirst();
      const role = parseRole(current?.role);
      if (role === undefined) return undefined;
      await this.audit.record(on, {
        event: 'login.succeeded',
        actor: { id: user.id, address: credentials.address },
        subject: user.email,
      });
      return this.sessions.open(on, { ...user, role, deviceSerial: undefined }, key);
    });
  }

  /**
   * Checks a password under the limits, without starting a session.
   *
   * @param purpose - For an enrolment the password of an enrolled or revoked device is still checked: its holder is told the device's state.
   * @throws IdentityError `login.wrong-credentials` | `login.rate-limited`.
   */
  async authenticate(credentials: Credentials, purpose: 'login' | 'enrolment'): Promise<KnownUser> {
    const user = await this.attempt(credentials, purpose);
    if (typeof user === 'string') throw wrongCredentials();
    return user;
  }

  /**
   * Checks the password that older clients send with every download. Good ones are not counted, wrong ones like those of logins.
   *
   * @throws AdminError `login.wrong-password`; IdentityError `login.rate-limited`.
   */
  async confirm(credentials: Credentials): Promise<KnownUser> {
    const { email, address } = credentials;
    const user = await this.limits.inTurn(email, address, () => this.attempt(credentials, 'confirmation'));
    if (typeof user === 'string') throw wrongPassword();
    return user;
  }

  private async attempt(
    { email, password, address }: Credentials,
    purpose: 'login' | 'enrolment' | 'confirmation',
  ): Promise<KnownUser | Refusal> {
    if (purpose === 'confirmation') await this.limits.assertNotExhausted(email, address);
    else await this.limits.take(email, address);
    const locked = await this.limits.isLocked(email, address);
    const row = await this.database.queries
      .selectFrom('users')
      .leftJoin('devices', 'devices.user_id', 'users.id')
      .select(['users.id', 'users.email', 'users.role', 'users.password_hash', 'users.is_enabled', 'devices.status'])
      .where((where) => where(where.fn<string>('lower', ['users.email']), '=', email.toLowerCase()))
      .executeTakeFirst();
    const role = parseRole(row?.role);
    const armed = purpose === 'enrolment' || isPasswordArmed(row?.status ?? null);
    const checkable = row !== undefined && !locked && role !== undefined && armed;
    const { correct, outdated } = await this.hasher.check(checkable ? row.password_hash : undefined, password);
    if (!checkable || !correct || !row.is_enabled) {
      await this.limits.failed(email, address);
      if (purpose === 'confirmation') await this.limits.take(email, address);
      await this.audit.record(this.database.queries, {
        event: 'login.failed',
        actor: { id: row?.id ?? 'unknown', address },
        subject: row?.email ?? 'unknown',
      });
      if (row === undefined) return 'unknown';
      return checkable && correct ? 'disabled' : 'wrong';
    }
    await this.limits.succeeded(email, address);
    const passwordHash = outdated ? await this.replaceHash(row.id, row.password_hash, password) : row.password_hash;
    return { id: row.id, email: row.email, role, passwordHash };
  }

  private async replaceHash(userId: string, older: string, password: Secret<string>): Promise<string> {
    const passwordHash = await this.hasher.hash(password);
    await this.database.queries
      .updateTable('users')
      .set({ password_hash: passwordHash })
      .where('id', '=', userId)
      .where('password_hash', '=', older)
      .execute();
    return passwordHash;
  }
}

function legacyError(refusal: Refusal): AdminError {
  switch (refusal) {
    case 'unknown':
      return new AdminError('login.no-such-account', 'There is no account with this e-mail address.');
    case 'wrong':
      return wrongPassword();
    case 'disabled':
      return new AdminError('login.account-disabled', 'This account is not in use any more: ask an administrator.');
  }
}

/** For older clients: the older API's answer to a wrong password. */
export function wrongPassword(): AdminError {
  return new AdminError('login.wrong-password', 'The password is wrong.');
}

/** The one answer to every failed login. */
export function wrongCredentials(): IdentityError {
  return new IdentityError('login.wrong-credentials', 'The e-mail address or the password is wrong.');
}

/** A device's password serves its enrolment and nothing after it. */
function isPasswordArmed(deviceStatus: string | null): boolean {
  return deviceStatus === null || deviceStatus === 'registered';
}
