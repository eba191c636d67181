import { sqlMigration } from '../sql-migration.js';

/**
 * In whose folder an older client's bytes lie and whose they are, also while they arrive and once they are replaced: they count against quotas.
 * The columns have names of their own, because replicas of the release before join this table to `legacy_files` while this runs.
 */
export const legacyQuota = sqlMigration([
  `alter table legacy_contents
    add column counted_folder text collate "C" not null default '',
    add column counted_owner text collate "C" not null default '',
    add column counted_bytes bigint not null default 0`,
  `update legacy_contents set counted_bytes = coalesce(size_bytes, 0)`,
  `update legacy_contents set counted_folder = legacy_files.folder, counted_owner = legacy_files.owner
    from legacy_files where legacy_files.content_id = legacy_contents.id`,
  `create index legacy_contents_folder on legacy_contents (counted_folder) include (counted_bytes)`,
  `create index legacy_contents_owner on legacy_contents (counted_owner) include (counted_bytes) where counted_owner <> ''`,
]);
