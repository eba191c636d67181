import { sqlMigration } from '../sql-migration.js';

/** Everything of the first release. An older installation's `users` table is adopted as it stands. */
export const foundation = sqlMigration([
  `create table if not exists users (
    id uuid primary key,
    email text not null,
    password_hash text not null,
    hardware text,
    hardware_hash text,
    role text not null,
    user_config text,
    created_at timestamptz not null default now(),
    last_login timestamptz,
    is_enabled boolean not null default true
  )`,
  `create unique index if not exists users_email_unique on users (lower(email))`,
  `create table sessions (
    id uuid primary key,
    user_id uuid not null references users (id) on delete cascade,
    device_serial text,
    created_at timestamptz not null,
    ends_at timestamptz not null,
    revoked_at timestamptz
  )`,
  `create index sessions_user on sessions (user_id)`,
  `create table refresh_tokens (
    token_hash bytea primary key,
    session_id uuid not null references sessions (id) on delete cascade,
    expires_at timestamptz not null,
    used_at timestamptz
  )`,
  `create index refresh_tokens_session on refresh_tokens (session_id)`,
  `create table rate_limits (key text primary key, count integer not null, resets_at timestamptz not null)`,
  `create table signing_keys (
    kid text primary key,
    purpose text not null check (purpose in ('token', 'statement', 'root')),
    public_jwk jsonb not null,
    wrapped_private bytea not null,
    created_at timestamptz not null
  )`,
  `create table service_secrets (name text primary key, wrapped bytea not null)`,
  `create table key_documents (version integer primary key, jws text not null, expires_at timestamptz not null)`,
  `create sequence device_numbers minvalue 0 start 0`,
  `create table devices (
    id uuid primary key,
    serial text not null unique,
    user_id uuid not null references users (id),
    status text not null check (status in ('registered', 'enrolled', 'revoked')),
    signing_key jsonb,
    agreement_key bytea unique,
    idempotency_key text unique,
    created_at timestamptz not null,
    enrolled_at timestamptz,
    last_seen_at timestamptz
  )`,
  `create table device_challenges (
    nonce_hash bytea primary key,
    device_id uuid not null references devices (id) on delete cascade,
    wrapped_ephemeral bytea not null,
    ephemeral_point bytea not null,
    expires_at timestamptz not null
  )`,
  `create table used_assertions (jti text primary key, expires_at timestamptz not null)`,
  `create table folders (
    id uuid primary key,
    name text not null unique,
    wrapped_device_root bytea not null,
    lease_seconds integer not null,
    created_at timestamptz not null
  )`,
  `create table dedup_domains (
    folder_id uuid not null references folders (id),
    number integer not null check (number between 0 and 65535),
    wrapped_key bytea,
    device_id uuid references devices (id),
    created_at timestamptz not null,
    primary key (folder_id, number),
    unique (folder_id, device_id),
    check ((wrapped_key is null) <> (device_id is null))
  )`,
  `create table resources (
    id uuid primary key,
    folder_id uuid not null references folders (id),
    name text not null,
    latest_version integer not null default 0,
    created_at timestamptz not null,
    unique (folder_id, name)
  )`,
  `create table uploads (
    id uuid primary key,
    resource_id uuid not null references resources (id),
    folder_id uuid not null references folders (id),
    domain integer not null,
    owner_id uuid not null,
    device_serial text,
    state text not null check (state in ('open', 'committed', 'abandoned')),
    expires_at timestamptz not null,
    committed_version integer,
    committed_new boolean,
    created_at timestamptz not null
  )`,
  `create table upload_segments (
    upload_id uuid not null references uploads (id) on delete cascade,
    kind text not null check (kind in ('root', 'chunks', 'packs')),
    index integer not null,
    sealed bytea not null,
    primary key (upload_id, kind, index)
  )`,
  `create table packs (
    id text primary key,
    folder_id uuid not null references folders (id),
    domain integer not null,
    upload_id uuid not null references uploads (id),
    owner_id uuid not null,
    size_bytes integer not null,
    sha256 bytea not null,
    state text not null check (state in ('uploading', 'live')),
    has_table boolean not null,
    seen_written boolean not null,
    created_at timestamptz not null
  )`,
  `create index packs_upload on packs (upload_id)`,
  `create index packs_owner on packs (owner_id, folder_id, domain)`,
  `create table pack_chunks (
    pack_id text not null references packs (id) on delete cascade,
    start_byte integer not null,
    sealed_bytes integer not null,
    chunk_id bytea not null,
    primary key (pack_id, start_byte)
  )`,
  `create index pack_chunks_chunk on pack_chunks (chunk_id)`,
  `create table versions (
    resource_id uuid not null references resources (id),
    version integer not null check (version > 0),
    kind text not null check (kind in ('file', 'images')),
    statement text not null,
    root_hash text not null,
    wrapped_recipe_key bytea not null,
    content_mac bytea not null,
    total_bytes bigint not null,
    recipe_bytes bigint not null,
    publisher_id uuid not null,
    scope text not null,
    state text not null check (state in ('live', 'withdrawn')),
    verified boolean not null default false,
    images jsonb,
    committed_at timestamptz not null,
    primary key (resource_id, version)
  )`,
  `create table version_segments (
    resource_id uuid not null,
    version integer not null,
    kind text not null check (kind in ('root', 'chunks', 'packs')),
    index integer not null,
    sealed bytea not null,
    primary key (resource_id, version, kind, index)
  )`,
  `create table version_packs (
    resource_id uuid not null,
    version integer not null,
    position integer not null,
    pack_id text not null references packs (id),
    primary key (resource_id, version, position)
  )`,
  `create index version_packs_pack on version_packs (pack_id)`,
  `create table grants (
    id uuid primary key,
    resource_id uuid not null references resources (id),
    version integer not null,
    subject_id uuid not null,
    device_serial text,
    recipient text not null,
    issued_at timestamptz not null,
    not_after timestamptz not null
  )`,
  `create table audit_events (
    id bigint generated always as identity primary key,
    at timestamptz not null,
    event text not null,
    actor text not null,
    address text not null,
    subject text not null,
    details jsonb not null
  )`,
]);
