import { sqlMigration } from '../sql-migration.js';

/** The boot state that a device was first attested in, for the policy `accept-first`; it outlives a reset. */
export const referenceBootStates = sqlMigration([
  `create table reference_boot_states (
    device_id uuid primary key references devices (id) on delete cascade,
    endorsement_name bytea not null,
    registers jsonb not null,
    recorded_at timestamptz not null
  )`,
  `alter table pending_attestations add column registers jsonb not null default '{}'`,
]);
