import type { Metrics } from '@azaion/nest-support';
import { sql } from 'kysely';

import type { Database } from './persistence/database.js';

/** States of a live version that its check has not found good. */
const UNVERIFIED = ['pending', 'bad'] as const;

/** Adds what the service knows of its database. Grants and logins are requests: they are counted by route and status. */
export function watchAdminApi(metrics: Metrics, database: Database): void {
  metrics.gauge(
    {
      name: 'azaion_database_connections',
      help: 'Connections of this replica to the database: busy or idle.',
      labels: ['state'],
    },
    (gauge) => {
      const { busy, idle } = database.poolState;
      gauge.set({ state: 'busy' }, busy);
      gauge.set({ state: 'idle' }, idle);
    },
  );
  metrics.gauge(
    {
      name: 'azaion_database_waiting',
      help: 'Work that waits for a connection to the database. Lastingly above 0: raise DATABASE_CONNECTIONS.',
    },
    (gauge) => gauge.set(database.poolState.waiting),
  );
  metrics.gauge(
    {
      name: 'azaion_versions_unverified',
      help: 'Live versions, of all replicas together, that wait for their check (pending), or that are damaged (bad).',
      labels: ['state'],
    },
    async (gauge) => {
      const rows = await database.queries
        .selectFrom('versions')
        .select(['verification', ({ fn }) => fn.countAll<number>().as('count')])
        .where('state', '=', 'live')
        .where('verification', 'in', UNVERIFIED)
        .groupBy('verification')
        .execute();
      for (const state of UNVERIFIED)
        gauge.set({ state }, rows.find(({ verification }) => verification === state)?.count ?? 0);
    },
  );
  metrics.gauge(
    {
      name: 'azaion_pack_bytes',
      help: 'Bytes of packs that live versions need: in the object store (stored), and left out of it by compaction (saved).',
      labels: ['state'],
    },
    async (gauge) => {
      const { stored, whole } = await database.queries
        .selectFrom('packs')
        .select(({ fn }) => [
          fn.coalesce(fn.sum<number>('stored_bytes'), sql<number>`0`).as('stored'),
          fn.coalesce(fn.sum<number>('size_bytes'), sql<number>`0`).as('whole'),
        ])
        .where('state', '=', 'live')
        .executeTakeFirstOrThrow();
      gauge.set({ state: 'stored' }, stored);
      gauge.set({ state: 'saved' }, whole - stored);
    },
  );
}
