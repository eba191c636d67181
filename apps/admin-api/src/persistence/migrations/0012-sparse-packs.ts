import { sqlMigration } from '../sql-migration.js';

/** How much of a pack each version needs, and which packs hold little that anybody needs. */
export const sparsePacks = sqlMigration([
  `alter table version_packs add column used_bytes integer`, // null: committed before this was counted
  `alter table packs add column sparse boolean not null default false`,
]);
