import { sql } from 'kysely';

import type { Queries } from './database.js';

/**
 * The database role that the service acts in. It reads and writes rows and owns nothing; of the audit log it can only add rows, so that nobody
 * who gets hold of the service's connections can rewrite what was recorded.
 */
export const SERVICE_ROLE = 'azaion_admin_api';

/** What can be added to and never changed. */
const APPEND_ONLY = ['audit_events', 'audit_chain'];
/** What only the owner's command adds to. */
const READ_ONLY = ['audit_checkpoints'];
/** What only migrations touch. */
const MIGRATIONS = ['kysely_migration', 'kysely_migration_lock'];

/**
 * Makes the role where it is missing and gives it its rights, in the transaction of whoever owns the tables.
 *
 * @throws Error that tells the operator what to run when this login may not make roles.
 */
export async function grantServiceRole(on: Queries): Promise<void> {
  await sql`select pg_advisory_xact_lock(hashtext('service-role'))`.execute(on);
  await makeRole(on);
  const { rows } = await sql<{ name: string }>`
    select tablename as name from pg_tables where schemaname = current_schema()`.execute(on);
  const rowsOf = rows.map(({ name }) => name).filter((name) => !MIGRATIONS.includes(name));
  const changeable = rowsOf.filter((name) => ![...APPEND_ONLY, ...READ_ONLY].includes(name));
  const role = sql.id(SERVICE_ROLE);
  await sql`grant usage on schema ${sql.id(await schemaName(on))} to ${role}`.execute(on);
  await sql`grant select, insert, update, delete on ${tables(changeable)} to ${role}`.execute(on);
  await sql`revoke all on ${tables([...APPEND_ONLY, ...READ_ONLY])} from ${role}`.execute(on);
  await sql`grant select, insert on ${tables(APPEND_ONLY)} to ${role}`.execute(on);
  await sql`grant select on ${tables(READ_ONLY)} to ${role}`.execute(on);
  await sql`grant usage, select on all sequences in schema ${sql.id(await schemaName(on))} to ${role}`.execute(on);
}

async function makeRole(on: Queries): Promise<void> {
  const { rows } = await sql<{ known: boolean; member: boolean; login: string }>`
    select exists (select from pg_roles where rolname = ${SERVICE_ROLE}) as known,
      coalesce((select pg_has_role(oid, 'member') from pg_roles where rolname = ${SERVICE_ROLE}), false) as member,
      current_user as login`.execute(on);
  const state = rows[0];
  if (state?.known === true && state.member) return;
  try {
    // Another installation in the same server may make it at this moment: then that one is as good.
    if (state?.known !== true)
      await sql`do $$ begin create role ${sql.id(SERVICE_ROLE)} nologin;
        exception when duplicate_object or unique_violation then null; end $$`.execute(on);
    await sql`grant ${sql.id(SERVICE_ROLE)} to current_user`.execute(on);
  } catch (cause) {
    throw new Error(
      `The database role that the service acts in could not be set up. As a superuser of PostgreSQL run: CREATE ROLE ${SERVICE_ROLE} NOLOGIN; GRANT ${SERVICE_ROLE} TO "${state?.login ?? ''}";`,
      { cause },
    );
  }
}

async function schemaName(on: Queries): Promise<string> {
  const { rows } = await sql<{ name: string }>`select current_schema() as name`.execute(on);
  return rows[0]?.name ?? 'public';
}

function tables(names: readonly string[]) {
  return sql.join(names.map((name) => sql.table(name)));
}
