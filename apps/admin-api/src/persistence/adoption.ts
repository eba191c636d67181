import { sql } from 'kysely';

import type { Queries } from './database.js';

/** Most pairs that a message names. */
const NAMED = 10;

/**
 * Looks at an older system's table of users before anything is changed: here addresses are the same whatever their case, there they need not be.
 *
 * @throws Error that names accounts whose addresses differ in case only, and what to do about them.
 */
export async function assertAdoptable(on: Queries): Promise<void> {
  const { rows: state } = await sql<{ waiting: boolean }>`
    select to_regclass('users') is not null and to_regclass('users_email_unique') is null as waiting`.execute(on);
  if (state[0]?.waiting !== true) return;
  const { rows } = await sql<{ emails: readonly string[] }>`
    select array_agg(email::text order by email) as emails from users
    group by lower(email) having count(*) > 1 order by lower(email) limit ${NAMED + 1}`.execute(on);
  if (rows.length === 0) return;
  const named = rows.slice(0, NAMED).map(({ emails }) => emails.join(' and '));
  throw new Error(
    `The older table of users has accounts whose addresses differ in case only: ${named.join('; ')}${rows.length > NAMED ? '; and more' : ''}. ` +
      'Rename or delete all but one of each in the older system, then start again: nothing has been changed.',
  );
}
