import { type Kysely, sql } from 'kysely';
import { type Migration } from 'kysely/migration';

/** Rules per folder, and when a device's keys were attested. */
export const folderPolicies: Migration = {
  async up(db: Kysely<unknown>): Promise<void> {
    for (const statement of STATEMENTS) await sql.raw(statement).execute(db);
  },
};

const STATEMENTS = [
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
];
