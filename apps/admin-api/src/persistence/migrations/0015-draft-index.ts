import { sqlMigration } from '../sql-migration.js';

/** What is counted of the packs that a publisher has not finished stands in the index: with each announced pack all of them are added up. */
export const draftIndex = sqlMigration([
  `drop index packs_drafts`,
  `create index packs_drafts on packs (owner_id) include (id, size_bytes, table_chunks) where state = 'uploading'`,
]);
