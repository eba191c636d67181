import { type Kysely, sql } from 'kysely';
import { type Migration } from 'kysely/migration';

/** When and from where the last login of a device went into the audit log: not each of a hundred a day does. */
export const recordedLogins: Migration = {
  async up(db: Kysely<unknown>): Promise<void> {
    for (const statement of STATEMENTS) await sql.raw(statement).execute(db);
  },
};

const STATEMENTS = [
  `alter table devices add column login_recorded_at timestamptz`,
  `alter table devices add column login_recorded_from text`,
];
