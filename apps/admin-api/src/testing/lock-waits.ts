import { setTimeout } from 'node:timers/promises';

import { sql } from 'kysely';

import type { Queries } from '../persistence/database.js';
import type { StartedApi } from './started-api.js';

/** Does work while a transaction of somebody else's holds locks; they are given back before this settles. @param lock - Takes them. */
export async function whileLocked<Result>(
  { infrastructure }: StartedApi,
  lock: (holder: Queries) => Promise<unknown>,
  work: () => Promise<Result>,
): Promise<Result> {
  const [held, over] = [Promise.withResolvers<undefined>(), Promise.withResolvers<undefined>()];
  const holding = infrastructure.database.transaction(async (holder) => {
    await lock(holder);
    held.resolve(undefined);
    await over.promise;
  });
  try {
    await Promise.race([held.promise, holding]);
    return await work();
  } finally {
    over.resolve(undefined);
    await holding;
  }
}

/** Resolves once something waits for a lock that somebody else holds in the database of this API, which nobody else uses. */
export async function untilSomethingWaits({ infrastructure }: StartedApi): Promise<void> {
  for (;;) {
    const { rows } = await sql`select from pg_locks where not granted`.execute(infrastructure.database.queries);
    if (rows.length > 0) return;
    await setTimeout(20);
  }
}
