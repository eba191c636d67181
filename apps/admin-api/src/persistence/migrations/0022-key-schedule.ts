import { type Kysely, sql } from 'kysely';
import { type Migration } from 'kysely/migration';

/** When a signing key begins to sign: after it has been published for a while. */
export const keySchedule: Migration = {
  async up(db: Kysely<unknown>): Promise<void> {
    for (const statement of STATEMENTS) await sql.raw(statement).execute(db);
  },
};

const STATEMENTS = [
  `alter table signing_keys add column signs_from timestamptz`,
  `update signing_keys set signs_from = created_at`,
  `alter table signing_keys alter column signs_from set not null`,
];
