import { setTimeout } from 'node:timers/promises';

import { sql } from 'kysely';

import { type StartedApi } from './started-api.js';

/** Resolves once something waits for a lock that somebody else holds in the database of this API, which nobody else uses. */
export async function untilSomethingWaits({ infrastructure }: StartedApi): Promise<void> {
  for (;;) {
    const { rows } = await sql`select from pg_locks where not granted`.execute(infrastructure.database.queries);
    if (rows.length > 0) return;
    await setTimeout(20);
  }
}
