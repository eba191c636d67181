import { sqlMigration } from '../sql-migration.js';

/** What the verifier found out, of versions and of single chunks; packs that are on their way out, and who still needs them. */
export const verification = sqlMigration([
  `alter table versions
    drop column verified,
    add column verification text not null default 'pending' check (verification in ('pending', 'verified', 'bad')),
    add column checked_at timestamptz,
    add column claimed_until timestamptz`,
  `create index versions_to_check on versions (committed_at) where verification <> 'verified'`,
  `alter table pack_chunks add column good boolean`, // null: nobody has looked
  `create table chunk_reports (
    resource_id uuid not null,
    version integer not null,
    chunk bigint not null check (chunk >= 0),
    reporter_id uuid not null,
    reported_at timestamptz not null,
    claimed_until timestamptz,
    primary key (resource_id, version, chunk),
    foreign key (resource_id, version) references versions (resource_id, version)
  )`,
  `alter table packs
    drop constraint packs_state_check,
    add constraint packs_state_check check (state in ('uploading', 'live', 'condemned', 'deleted')),
    add column condemned_at timestamptz,
    add column purged_at timestamptz`,
  `create index packs_to_collect on packs (state, condemned_at) where state <> 'live' and purged_at is null`,
  `create table pack_pins (
    pack_id text not null references packs (id) on delete cascade,
    upload_id uuid not null references uploads (id) on delete cascade,
    primary key (pack_id, upload_id)
  )`,
  `create index pack_pins_upload on pack_pins (upload_id)`,
]);
