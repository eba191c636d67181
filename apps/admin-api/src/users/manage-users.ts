import { IdentityError, parseRole, type Role } from '@azaion/identity';
import type { Secret } from '@azaion/kernel';
import { sql } from 'kysely';

import type { Actor, AuditLog } from '../audit/audit-log.js';
import { AdminError } from '../errors.js';
import type { Database, Queries } from '../persistence/database.js';
import type { LogIn } from '../tokens/log-in.js';
import type { PasswordHasher } from '../tokens/password-hasher.js';
import type { Sessions } from '../tokens/sessions.js';
import { assertLongEnough } from './create-user.js';

/** An account as it stands under its lock. */
interface LockedUser {
  readonly id: string;
  readonly email: string;
  readonly role: Role;
  readonly isEnabled: boolean;
  readonly isDevice: boolean;
}

/** Who asks for a new password. */
export interface PasswordChange {
  /** The caller's own account, or for an administrator any person's. */
  readonly email: string;
  /** Needed for the caller's own account. */
  readonly oldPassword: Secret<string> | undefined;
  readonly newPassword: Secret<string>;
}

/** Changes accounts. Every change ends the account's sessions; the last administrator in use stays one. */
export class ManageUsers {
  constructor(
    private readonly database: Database,
    private readonly hasher: PasswordHasher,
    private readonly logIn: LogIn,
    private readonly sessions: Sessions,
    private readonly audit: AuditLog,
  ) {}

  /** @throws AdminError `user.not-found` | `user.last-administrator` | `user.of-device`. */
  async setRole(email: string, role: Role, actor: Actor): Promise<void> {
    await this.change(email, async (on, user) => {
      if (user.isDevice) throw ofDevice('Its role is fixed.');
      if (user.role === role) return;
      if (role !== 'ApiAdmin') await assertAnotherAdministrator(on, user);
      await on.updateTable('users').set({ role }).where('id', '=', user.id).execute();
      await this.sessions.endAll(on, user.id);
      await this.record(on, 'user.role-changed', user, actor, { from: user.role, to: role });
    });
  }

  /** @throws AdminError `user.not-found`. */
  async enable(email: string, actor: Actor): Promise<void> {
    await this.change(email, async (on, user) => {
      if (user.isEnabled) return;
      await on.updateTable('users').set({ is_enabled: true }).where('id', '=', user.id).execute();
      await this.record(on, 'user.enabled', user, actor);
    });
  }

  /** No login, no refresh and no grant from now on. @throws AdminError `user.not-found` | `user.last-administrator`. */
  async disable(email: string, actor: Actor): Promise<void> {
    await this.change(email, async (on, user) => {
      if (!user.isEnabled) return;
      await assertAnotherAdministrator(on, user);
      await on.updateTable('users').set({ is_enabled: false }).where('id', '=', user.id).execute();
      await this.sessions.endAll(on, user.id);
      await this.record(on, 'user.disabled', user, actor);
    });
  }

  /** Removes the account with its sessions; what it published stays. @throws as {@link setRole}. */
  async remove(email: string, actor: Actor): Promise<void> {
    await this.change(email, async (on, user) => {
      if (user.isDevice) throw ofDevice('Revoke the device instead.');
      await assertAnotherAdministrator(on, user);
      await on.deleteFrom('users').where('id', '=', user.id).execute();
      await this.record(on, 'user.deleted', user, actor, { email: user.email, role: user.role });
    });
  }

  /**
   * @param isOwn - Whether the caller's own account is meant: then its old password is checked, under the limits of logins.
   * @throws AdminError `user.not-found` | `user.password-too-short` | `user.of-device`; IdentityError `login.wrong-credentials` |
   *   `login.rate-limited`.
   */
  async setPassword({ email, oldPassword, newPassword }: PasswordChange, isOwn: boolean, actor: Actor): Promise<void> {
    assertLongEnough(newPassword);
    const checked =
      isOwn && oldPassword !== undefined
        ? await this.logIn.authenticate({ email, password: oldPassword, address: actor.address }, 'login')
        : undefined;
    const passwordHash = await this.hasher.hash(newPassword);
    await this.change(email, async (on, user) => {
      if (user.isDevice) throw ofDevice('Reset the device instead.');
      const { numUpdatedRows } = await on
        .updateTable('users')
        .set({ password_hash: passwordHash })
        .where('id', '=', user.id)
        .$if(checked !== undefined, (update) => update.where('password_hash', '=', checked?.passwordHash ?? ''))
        .executeTakeFirstOrThrow();
      if (numUpdatedRows === 0n)
        throw new IdentityError('login.wrong-credentials', 'The password was changed meanwhile: try again.');
      await this.sessions.endAll(on, user.id);
      await this.record(on, 'user.password-changed', user, actor);
    });
  }

  /** One transaction with the account locked. Changes of accounts wait for each other, so that two cannot each remove the other of the last two administrators. */
  private async change(email: string, work: (on: Queries, user: LockedUser) => Promise<void>): Promise<void> {
    await this.database.transaction(async (on) => {
      await sql`select pg_advisory_xact_lock(hashtext('accounts'))`.execute(on);
      const row = await on
        .selectFrom('users')
        .leftJoin('devices', 'devices.user_id', 'users.id')
        .select(['users.id', 'users.email', 'users.role', 'users.is_enabled', 'devices.id as device_id'])
        .where((where) => where(where.fn<string>('lower', ['users.email']), '=', email.toLowerCase()))
        .forUpdate('users')
        .executeTakeFirst();
      if (!row) throw new AdminError('user.not-found', 'There is no such account.');
      await work(on, {
        id: row.id,
        email: row.email,
        role: parseRole(row.role) ?? 'None',
        isEnabled: row.is_enabled,
        isDevice: row.device_id !== null,
      });
    });
  }

  private record(
    on: Queries,
    event: string,
    { id }: LockedUser,
    actor: Actor,
    details: Readonly<Record<string, string>> = {},
  ): Promise<void> {
    return this.audit.record(on, { event, actor, subject: id, details });
  }
}

async function assertAnotherAdministrator(on: Queries, user: LockedUser): Promise<void> {
  if (user.role !== 'ApiAdmin' || !user.isEnabled) return;
  const other = await on
    .selectFrom('users')
    .select('id')
    .where('role', 'in', ['ApiAdmin', '1000']) // older installations may hold the number
    .where('is_enabled', '=', true)
    .where('id', '!=', user.id)
    .executeTakeFirst();
  if (!other)
    throw new AdminError(
      'user.last-administrator',
      'This is the last administrator: make another one (role ApiAdmin) first.',
    );
}

function ofDevice(remedy: string): AdminError {
  return new AdminError('user.of-device', `This account belongs to a device. ${remedy}`);
}
