import { type Kysely, sql } from 'kysely';
import { type Migration } from 'kysely/migration';

/** Whose an older client's file is: a device's are its own. */
export const legacyOwners: Migration = {
  async up(db: Kysely<unknown>): Promise<void> {
    for (const statement of STATEMENTS) await sql.raw(statement).execute(db);
  },
};

const STATEMENTS = [
  `alter table legacy_files
    add column owner text collate "C" not null default '', -- empty: everybody's
    drop constraint legacy_files_pkey,
    add primary key (folder, name, owner)`,
];
