import { sql } from 'kysely';

import type { Database } from '../persistence/database.js';
import { costOf, type PasswordHasher } from './password-hasher.js';

/** Every login pays for each of them: more than these have never been configured within the life of a password. */
const MOST_COSTS = 4;

/** Tells the hasher which costs stored passwords have: after the cost was raised, older ones stay until their owners log in. */
export class PasswordCosts {
  constructor(
    private readonly database: Database,
    private readonly hasher: PasswordHasher,
  ) {}

  /** Looks at all accounts; at the start, and now and then. */
  async learn(): Promise<void> {
    const { rows } = await sql<{ form: string }>`
      select substring(password_hash from '^[$]argon2id[$]v=19[$][^$]*[$]') as form from users
      where password_hash like '$argon2id$v=19$%'
      group by form order by count(*) desc limit ${MOST_COSTS}`.execute(this.database.queries);
    this.hasher.reckonWith(rows.map(({ form }) => costOf(form)).filter((cost) => cost !== undefined));
  }
}
