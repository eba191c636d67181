import { randomUUID } from 'node:crypto';

import type { Role } from '@azaion/identity';
import type { Clock, Secret } from '@azaion/kernel';

import type { Actor, AuditLog } from '../audit/audit-log.js';
import { AdminError } from '../errors.js';
import { type Database, isUniqueViolation, type Queries } from '../persistence/database.js';
import type { PasswordHasher } from '../tokens/password-hasher.js';

const MIN_PASSWORD_CHARS = 12;
const MIN_EMAIL_CHARS = 8;
const EMAIL = /^[^\s@]{1,64}@[^\s@.]+(?:\.[^\s@.]+)+$/;

/** A new account. */
export interface NewUser {
  /** Untrusted; kept in lower case. */
  readonly email: string;
  readonly password: Secret<string>;
  readonly role: Role;
}

/** Creates accounts. */
export class CreateUser {
  constructor(
    private readonly database: Database,
    private readonly hasher: PasswordHasher,
    private readonly audit: AuditLog,
    private readonly clock: Clock,
  ) {}

  /**
   * @returns The new user's id.
   * @throws AdminError `user.exists` | `user.email-too-short` | `user.email-invalid` | `user.password-too-short`.
   */
  async run(user: NewUser, actor: Actor): Promise<string> {
    assertAcceptable(user);
    const passwordHash = await this.hasher.hash(user.password);
    return this.database.transaction((on) => this.insert(on, user, passwordHash, actor));
  }

  /** Writes the account in the caller's transaction. @param passwordHash - Already in its stored form. */
  async insert(
    on: Queries,
    { email, role }: Pick<NewUser, 'email' | 'role'>,
    passwordHash: string,
    actor: Actor,
  ): Promise<string> {
    const id = randomUUID();
    try {
      await on
        .insertInto('users')
        .values({
          id,
          email: email.toLowerCase(),
          password_hash: passwordHash,
          role,
          created_at: new Date(this.clock.nowMs()),
          is_enabled: true,
        })
        .execute();
    } catch (error) {
      if (isUniqueViolation(error))
        throw new AdminError('user.exists', 'There is an account with this e-mail address.');
      throw error;
    }
    await this.audit.record(on, { event: 'user.created', actor, subject: id, details: { email, role } });
    return id;
  }
}

function assertAcceptable({ email, password }: NewUser): void {
  if (email.length < MIN_EMAIL_CHARS)
    throw new AdminError('user.email-too-short', `The e-mail address needs at least ${MIN_EMAIL_CHARS} characters.`);
  if (!EMAIL.test(email)) throw new AdminError('user.email-invalid', 'This is not an e-mail address.');
  assertLongEnough(password);
}

/** What every new password must be. @throws AdminError `user.password-too-short`. */
export function assertLongEnough(password: Secret<string>): void {
  if (password.reveal().length < MIN_PASSWORD_CHARS)
    throw new AdminError('user.password-too-short', `The password needs at least ${MIN_PASSWORD_CHARS} characters.`);
}
