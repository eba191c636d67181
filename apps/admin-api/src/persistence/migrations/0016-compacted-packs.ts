import { sqlMigration } from '../sql-migration.js';

/** Packs of which only a part is left, in an object of another name; and objects that are to go. */
export const compactedPacks = sqlMigration([
  `alter table packs
    add column object_id text,
    add column extents jsonb,
    add column compacted_bytes integer,
    add column compacted_sha256 bytea,
    add column stored_bytes integer not null generated always as (coalesce(compacted_bytes, size_bytes)) stored,
    add column examine_after timestamptz`,
  `create table stale_objects (
    object_id text primary key,
    folder_id uuid not null references folders (id),
    delete_after timestamptz not null
  )`,
]);
