import { sqlMigration } from '../sql-migration.js';

/** What older clients store and fetch: files in sealed pieces, and the key fragments of image archives. */
export const legacyResources = sqlMigration([
  `create table legacy_contents (
    id uuid primary key,
    wrapped_key bytea not null,
    size_bytes bigint,
    created_at timestamptz not null,
    released_at timestamptz
  )`,
  `create table legacy_pieces (
    content_id uuid not null references legacy_contents (id) on delete cascade,
    index integer not null,
    sealed bytea not null,
    primary key (content_id, index)
  )`,
  `alter table legacy_pieces alter column sealed set storage external`, // ciphertext: nothing to compress
  `create table legacy_files (
    folder text collate "C" not null,
    name text collate "C" not null,
    content_id uuid not null references legacy_contents (id),
    updated_at timestamptz not null,
    primary key (folder, name)
  )`,
  `create table key_fragments (
    archive text primary key,
    wrapped bytea not null,
    created_by uuid not null,
    created_at timestamptz not null
  )`,
]);
