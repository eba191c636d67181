import { sqlMigration } from '../sql-migration.js';

/** When a signing key begins to sign: after it has been published for a while. */
export const keySchedule = sqlMigration([
  `alter table signing_keys add column signs_from timestamptz`,
  `update signing_keys set signs_from = created_at`,
  `alter table signing_keys alter column signs_from set not null`,
]);
