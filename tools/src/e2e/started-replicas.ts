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
  /** Ends one at once, as a crash does; it stays away. */
  kill(index: number): Promise<void>;
  /** As {@link kill}, and starts it again; resolves when it serves. */
  crash(index: number): Promise<void>;
  /** What all of them have printed, also those that were ended. */
  output(): string;
  stop(): Promise<void>;
}

/** How replicas are started. */
export interface ReplicaOptions {
  /** Settings of each but address, port and data. */
  readonly env: Readonly<Record<string, string>>;
  /** For their data and their common KEK. */
  readonly directory: string;
  /** Whether they share the directory, as a volume, with the objects in it. */
  readonly sharedData: boolean;
  /** Where clients reach them, told where the load balancer is; at the load balancer itself unless given. */
  readonly reachedAt?: (balancerUrl: string) => Promise<string>;
}

/** Starts replicas at the same moment, so that they meet on an empty database. */
export async function startReplicas(
  count: number,
  { env, directory, sharedData, reachedAt }: ReplicaOptions,
): Promise<AdminReplicas> {
  const urls = await Promise.all(Array.from({ length: count }, async () => `http://127.0.0.1:${await freePort()}`));
  const balancer = await startRoundRobin(urls);
  const publicUrl = (await reachedAt?.(balancer.url)) ?? balancer.url;
  const start = (index: number): Promise<RunningProcess> => {
    const url = urls[index] ?? '';
    return startService({
      app: 'admin-api',
      url,
      env: {
        NODE_ENV: 'development',
        ADMIN_HOST: '127.0.0.1',
        ADMIN_PORT: new URL(url).port,
        ADMIN_PUBLIC_URL: publicUrl,
        ADMIN_DATA_DIR: sharedData ? directory : join(directory, `replica-${index}`),
        ADMIN_KEK_FILE: join(directory, 'keys', 'kek'),
        TRUSTED_PROXIES: '127.0.0.1',
        ...env,
      },
    });
  };
  const [first, ...others] = await Promise.all([start(0), ...urls.slice(1).map((_, index) => start(index + 1))]);
  const replicas = [first, ...others];
  const kill = async (index: number): Promise<void> => {
    replicas[index]?.kill('SIGKILL');
    await replicas[index]?.ended;
  };
  const started = [...replicas];
  return {
    url: balancer.url,
    balancer,
    first,
    kill,
    crash: async (index) => {
      await kill(index);
      const replica = await start(index);
      replicas[index] = replica;
      started.push(replica);
    },
    output: () => started.map((replica) => replica.output()).join('\n'),
    stop: async () => {
      await balancer.stop();
      await Promise.all(replicas.map((replica) => replica.stop()));
    },
  };
}
