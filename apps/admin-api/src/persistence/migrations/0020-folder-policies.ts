import { sqlMigration } from '../sql-migration.js';

/** Rules per folder, and when a device's keys were attested. */
export const folderPolicies = sqlMigration([
  `create table folder_policies (
    folder text primary key,
    readers text[] not null,
    writers text[] not null,
    lease_seconds integer not null,
    quota_bytes bigint,
    require_attestation boolean not null,
    people_may_read boolean not null,
    updated_at timestamptz not null
  )`,
  `alter table folders drop column lease_seconds`, // it held the same default in every row
  `alter table devices add column attested_at timestamptz`,
]);
