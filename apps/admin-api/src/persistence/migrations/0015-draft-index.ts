import { type Kysely, sql } from 'kysely';
import { type Migration } from 'kysely/migration';

/** What is counted of the packs that a publisher has not finished stands in the index: with each announced pack all of them are added up. */
export const draftIndex: Migration = {
  async up(db: Kysely<unknown>): Promise<void> {
    for (const statement of STATEMENTS) await sql.raw(statement).execute(db);
  },
};

const STATEMENTS = [
  `drop index packs_drafts`,
  `create index packs_drafts on packs (owner_id) include (id, size_bytes, table_chunks) where state = 'uploading'`,
];
