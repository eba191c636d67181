import { sqlMigration } from '../sql-migration.js';

/** Which TPM stands for which device, and enrolments that wait for a TPM's answer. */
export const attestation = sqlMigration([
  `create table device_attestations (
    device_id uuid primary key references devices (id) on delete cascade,
    endorsement_name bytea not null,
    pcrs text not null,
    pcr_digest bytea not null
  )`,
  `create unique index device_attestations_tpm on device_attestations (endorsement_name)`,
  `create table pending_attestations (
    token_hash bytea primary key,
    device_id uuid not null references devices (id) on delete cascade,
    secret_hash bytea not null,
    signing_key jsonb not null,
    agreement_key bytea not null,
    endorsement_name bytea not null,
    pcrs text not null,
    pcr_digest bytea not null,
    expires_at timestamptz not null
  )`,
  `create table used_challenges (
    nonce_hash bytea primary key,
    expires_at timestamptz not null
  )`,
]);
