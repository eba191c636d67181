import { sqlMigration } from '../sql-migration.js';

/** How many packs each upload has announced, so that announcing one more counts none; and packs are found by their folder. */
export const packCounts = sqlMigration([
  `alter table uploads add column pack_count integer not null default 0`,
  `update uploads set pack_count = counted.packs
    from (select upload_id, count(*) as packs from packs group by upload_id) as counted
    where counted.upload_id = uploads.id and uploads.state = 'open'`,
  `create index packs_folder on packs (folder_id, state)`,
]);
