import { type Kysely, sql } from 'kysely';
import { type Migration } from 'kysely/migration';

/** Parts of a version cannot outlive it, nor name another; columns that nothing reads go. */
export const references: Migration = {
  async up(db: Kysely<unknown>): Promise<void> {
    for (const statement of STATEMENTS) await sql.raw(statement).execute(db);
  },
};

const STATEMENTS = [
  `alter table version_segments add foreign key (resource_id, version) references versions (resource_id, version)
    deferrable initially deferred`, // a commit writes the segments first
  `alter table version_packs add foreign key (resource_id, version) references versions (resource_id, version)`,
  `alter table device_challenges drop column ephemeral_point`,
  `alter table versions drop column images`,
];
