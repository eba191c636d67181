import { join } from 'node:path';

import { freePort, type RoundRobin, type RunningProcess, startRoundRobin } from '@azaion/testing';

import { startService } from '../started-service.js';

/** Several Admin APIs on one database and one object store, behind one address. */
export interface AdminReplicas {
  /** Of the load balancer before them. */
  readonly url: string;
  readonly balancer: RoundRobin;
  /** The first of them, as it was started. */
  readonly first: RunningProcess;
  /** Ends one at once, as a crash does, and starts it again; resolves when it serves. */
  crash(index: number): Promise<void>;
  stop(): Promise<void>;
}

/**
 * Starts replicas at the same moment, so that they meet on an empty database.
 *
 * @param env - Settings of each but address, port and data.
 * @param directory - For their data, which they do not share, and their common KEK.
 */
export async function startReplicas(
  count: number,
  env: Readonly<Record<string, string>>,
  directory: string,
): Promise<AdminReplicas> {
  const urls = await Promise.all(Array.from({ length: count }, async () => `http://127.0.0.1:${await freePort()}`));
  const start = (index: number): Promise<RunningProcess> => {
    const url = urls[index] ?? '';
    return startService({
      app: 'admin-api',
      url,
      env: {
        NODE_ENV: 'development',
        ADMIN_HOST: '127.0.0.1',
        ADMIN_PORT: new URL(url).port,
        ADMIN_DATA_DIR: join(directory, `replica-${index}`),
        ADMIN_KEK_FILE: join(directory, 'keys', 'kek'),
        TRUSTED_PROXIES: '127.0.0.1',
        ...env,
      },
    });
  };
  const [first, ...others] = await Promise.all([start(0), ...urls.slice(1).map((_, index) => start(index + 1))]);
  const replicas = [first, ...others];
  const balancer = await startRoundRobin(urls);
  return {
    url: balancer.url,
    balancer,
    first,
    crash: async (index) => {
      replicas[index]?.kill('SIGKILL');
      await replicas[index]?.ended;
      replicas[index] = await start(index);
    },
    stop: async () => {
      await balancer.stop();
      await Promise.all(replicas.map((replica) => replica.stop()));
    },
  };
}
