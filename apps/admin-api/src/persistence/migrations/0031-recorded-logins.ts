import { sqlMigration } from '../sql-migration.js';

/** When and from where the last login of a device went into the audit log: not each of a hundred a day does. */
export const recordedLogins = sqlMigration([
  `alter table devices add column login_recorded_at timestamptz`,
  `alter table devices add column login_recorded_from text`,
]);
