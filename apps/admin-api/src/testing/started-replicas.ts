import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import type { Clock } from '@azaion/kernel';

import { EmbeddedPostgres } from '../persistence/embedded-postgres.js';
import { type StartedApi, startApi } from './started-api.js';

/** Two replicas of one installation: one database, one KEK, one object directory. */
export interface StartedReplicas {
  readonly one: StartedApi;
  readonly other: StartedApi;
  /** What the database's owner connects with. */
  readonly owner: EmbeddedPostgres['connection'];
  stop(): Promise<void>;
}

/** Starts two replicas at the same moment, so that both bring up one empty database. @param clock - Of both. */
export async function startReplicas(
  env: Readonly<Record<string, string>> = {},
  clock?: Clock,
): Promise<StartedReplicas> {
  const directory = await mkdtemp(join(tmpdir(), 'admin-api-replicas-'));
  await chmod(directory, 0o755); // root's database user must reach it
  const postgres = await EmbeddedPostgres.start(join(directory, 'database'));
  const { host, user, password, database } = postgres.connection;
  const shared = {
    DATABASE_URL: `postgresql://${user}:${password}@/${database}?host=${encodeURIComponent(host)}`,
    ADMIN_DATA_DIR: join(directory, 'data'),
    ...env,
  };
  const replicas: StartedApi[] = [];
  const stop = async (): Promise<void> => {
    for (const replica of replicas) await replica.stop();
    await postgres.stop();
    await rm(directory, { recursive: true, force: true });
  };
  try {
    const started = await Promise.allSettled([startApi(shared, clock), startApi(shared, clock)]);
    for (const result of started) if (result.status === 'fulfilled') replicas.push(result.value);
    const [one, other] = replicas;
    if (!one || !other) throw new Error('a replica did not start', { cause: started });
    return { one, other, owner: postgres.connection, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}
