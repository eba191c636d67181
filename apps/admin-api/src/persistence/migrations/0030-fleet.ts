import { sqlMigration } from '../sql-migration.js';

/** Groups of devices, what devices should hold and run, and what they say they do. */
export const fleet = sqlMigration([
  `create table groups (
    name text collate "C" primary key,
    priority integer not null,
    desired jsonb not null,
    created_at timestamptz not null,
    updated_at timestamptz not null
  )`,
  `create table group_members (
    group_name text collate "C" not null references groups (name) on delete cascade,
    device_id uuid not null references devices (id) on delete cascade,
    primary key (group_name, device_id)
  )`,
  `create index group_members_device on group_members (device_id)`,
  `create table device_desired (
    device_id uuid primary key references devices (id) on delete cascade,
    desired jsonb not null,
    updated_at timestamptz not null
  )`,
  `create table device_reports (
    device_id uuid primary key references devices (id) on delete cascade,
    loader_version text not null,
    binding text not null,
    resources jsonb not null,
    images jsonb,
    reported_at timestamptz not null
  )`,
]);
