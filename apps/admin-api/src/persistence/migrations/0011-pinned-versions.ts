import { type Kysely, sql } from 'kysely';
import { type Migration } from 'kysely/migration';

/** Which version an administrator has pinned a resource to, and which domain people publish into. */
export const pinnedVersions: Migration = {
  async up(db: Kysely<unknown>): Promise<void> {
    for (const statement of STATEMENTS) await sql.raw(statement).execute(db);
  },
};

const STATEMENTS = [
  `alter table resources
    add column pinned_version integer,
    add foreign key (id, pinned_version) references versions (resource_id, version)`,
  `alter table folders add column main_domain integer not null default 0`,
];
