import { sqlMigration } from '../sql-migration.js';

/** Whose an older client's file is: a device's are its own. */
export const legacyOwners = sqlMigration([
  `alter table legacy_files
    add column owner text collate "C" not null default '', -- empty: everybody's
    drop constraint legacy_files_pkey,
    add primary key (folder, name, owner)`,
]);
