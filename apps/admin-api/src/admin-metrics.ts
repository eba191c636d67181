import { type Metrics } from '@azaion/nest-support';

import { type Database } from './persistence/database.js';

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
}
