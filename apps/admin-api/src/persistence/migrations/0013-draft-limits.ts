import { sqlMigration } from '../sql-migration.js';

/** What bounds the drafts of one publisher is counted without reading them. */
export const draftLimits = sqlMigration([
  `alter table packs add column table_chunks integer not null default 0`,
  `create index packs_drafts on packs (owner_id) where state = 'uploading'`,
  `create index uploads_open on uploads (owner_id) where state = 'open'`,
]);
