import { type Kysely, sql } from 'kysely';
import { type Migration } from 'kysely/migration';

/** How many packs each upload has announced, so that announcing one more counts none; and packs are found by their folder. */
export const packCounts: Migration = {
  async up(db: Kysely<unknown>): Promise<void> {
    for (const statement of STATEMENTS) await sql.raw(statement).execute(db);
  },
};

const STATEMENTS = [
  `alter table uploads add column pack_count integer not null default 0`,
  `update uploads set pack_count = counted.packs
    from (select upload_id, count(*) as packs from packs group by upload_id) as counted
    where counted.upload_id = uploads.id and uploads.state = 'open'`,
  `create index packs_folder on packs (folder_id, state)`,
];
