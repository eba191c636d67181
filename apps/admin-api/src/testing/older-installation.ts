import { createHash, randomUUID } from 'node:crypto';

import { sql } from 'kysely';

import type { Queries } from '../persistence/database.js';

/** An account as the older system holds it. */
export interface OlderAccount {
  readonly email: string;
  readonly password: string;
  /** A name, or its number. */
  readonly role: string;
  /** In use unless given. */
  readonly enabled?: boolean;
  readonly lastLogin?: Date;
}

/** The older system's table of users, with its lengths and its unsalted SHA-384 hashes, in a database that holds nothing else. @returns Ids, in order. */
export async function makeOlderUsers(on: Queries, accounts: readonly OlderAccount[]): Promise<readonly string[]> {
  await sql`create table users (
    id uuid primary key, email varchar(160) not null, password_hash varchar(255) not null, hardware text,
    hardware_hash varchar(120), role varchar(20) not null, user_config text,
    created_at timestamptz not null default now(), last_login timestamptz, is_enabled boolean not null default true
  )`.execute(on);
  const ids: string[] = [];
  for (const { email, password, role, enabled = true, lastLogin } of accounts) {
    const id = randomUUID();
    const hash = createHash('sha384').update(password).digest('base64');
    await sql`insert into users (id, email, password_hash, hardware, hardware_hash, role, last_login, is_enabled)
      values (${id}, ${email}, ${hash}, 'CPU: …', 'a hash', ${role}, ${lastLogin ?? null}, ${enabled})`.execute(on);
    ids.push(id);
  }
  return ids;
}
