import { randomBytes } from 'node:crypto';

import { Secret, toBase64Url } from '@azaion/kernel';
import { sql } from 'kysely';

import type { Database, Queries } from '../persistence/database.js';
import type { CreateUser } from './create-user.js';
import type { PasswordHasher } from '../tokens/password-hasher.js';

/** The first administrator, as configured. */
export interface FirstAdministrator {
  readonly email: string;
  /** Made up and told once when missing. */
  readonly password: Secret<string> | undefined;
}

/** Makes the first administrator of an installation that has no users yet. */
export class BootstrapAdministrator {
  constructor(
    private readonly database: Database,
    private readonly createUser: CreateUser,
    private readonly hasher: PasswordHasher,
  ) {}

  /**
   * @param tell - Receives a made-up password, once: it is stored nowhere.
   * @throws Error when the configured address or password would not be accepted for any account.
   */
  async run(first: FirstAdministrator, tell: (email: string, password: Secret<string>) => void): Promise<void> {
    if (await this.hasUsers(this.database.queries)) return;
    const password = first.password ?? new Secret(toBase64Url(randomBytes(18)));
    if (password.reveal().length < 12) throw new Error('The bootstrap password needs at least 12 characters.');
    const passwordHash = await this.hasher.hash(password);
    const made = await this.database.transaction(async (on) => {
      await sql`select pg_advisory_xact_lock(hashtext('bootstrap-administrator'))`.execute(on);
      if (await this.hasUsers(on)) return false;
      await this.createUser.insert(on, { email: first.email, role: 'ApiAdmin' }, passwordHash, {
        id: 'system',
        address: '',
      });
      return true;
    });
    if (made && first.password === undefined) tell(first.email, password);
  }

  private async hasUsers(on: Queries): Promise<boolean> {
    return (await on.selectFrom('users').select('id').limit(1).executeTakeFirst()) !== undefined;
  }
}
