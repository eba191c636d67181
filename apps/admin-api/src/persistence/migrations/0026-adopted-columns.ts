import { sqlMigration } from '../sql-migration.js';

/** An adopted table of users has the lengths of the older system: its texts hold what this one accepts. The tombstones stay as they are. */
export const adoptedColumns = sqlMigration([
  `alter table users
    alter column email type text,
    alter column password_hash type text,
    alter column role type text`,
]);
