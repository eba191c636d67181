import { type Kysely, sql } from 'kysely';
import { type Migration } from 'kysely/migration';

/** How much of a pack each version needs, and which packs hold little that anybody needs. */
export const sparsePacks: Migration = {
  async up(db: Kysely<unknown>): Promise<void> {
    for (const statement of STATEMENTS) await sql.raw(statement).execute(db);
  },
};

const STATEMENTS = [
  `alter table version_packs add column used_bytes integer`, // null: committed before this was counted
  `alter table packs add column sparse boolean not null default false`,
];
