import { type Kysely, sql } from 'kysely';
import { type Migration } from 'kysely/migration';

/** What bounds the drafts of one publisher is counted without reading them. */
export const draftLimits: Migration = {
  async up(db: Kysely<unknown>): Promise<void> {
    for (const statement of STATEMENTS) await sql.raw(statement).execute(db);
  },
};

const STATEMENTS = [
  `alter table packs add column table_chunks integer not null default 0`,
  `create index packs_drafts on packs (owner_id) where state = 'uploading'`,
  `create index uploads_open on uploads (owner_id) where state = 'open'`,
];
