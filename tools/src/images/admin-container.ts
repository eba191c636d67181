import { chmod, chown, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { answersHttp, freePort, type PostgresServer } from '@azaion/testing';

import { AzaionCommand } from '../demo/azaion-command.js';
import { adminDeployment, SECRETS } from '../deploy/admin-deployment.js';
import { writeClusterSecrets } from '../deploy/cluster-secrets.js';
import { WORKSPACE } from '../started-service.js';
import type { Architecture } from './emulation.js';
import { until } from './until.js';

/** Whom the images run as. */
export const NOBODY = 65_532;
/** What a container may do: nothing but run as nobody on files that it cannot change. */
export const CONFINED = [
  '--read-only',
  '--cap-drop',
  'ALL',
  '--security-opt',
  'no-new-privileges',
  '--network',
  'host',
];
/** The first administrator. */
export const ADMINISTRATOR = {
  email: 'admin@example.com',
  password: 'correct horse battery',
};

/** The image of the Admin API at work, with the settings of the files for Kubernetes. */
export interface AdminContainer {
  readonly url: string;
  /** Its name in the engine. */
  readonly name: string;
  /** An administrator, who is logged in. */
  readonly cli: AzaionCommand;
  /** Makes a device, as its disk is prepared. @returns The path of its `device.conf`, which belongs to whom the images run as. */
  provision(name: string): Promise<string>;
}

/** What an Admin API in a container is started from. */
export interface AdminContainerOptions {
  readonly docker: (...args: string[]) => Promise<string>;
  readonly image: string;
  readonly architecture: Architecture;
  readonly postgres: PostgresServer;
  /** An empty directory, for its secrets and for what is made apart. */
  readonly home: string;
}

/** Starts an Admin API as a cluster does, on a database of its own, and waits until it is ready. */
export async function startAdminContainer(options: AdminContainerOptions): Promise<AdminContainer> {
  const { docker, image, architecture, postgres, home } = options;
  const [secrets, offline] = [join(home, 'secrets'), join(home, 'offline')];
  for (const path of [secrets, offline]) await mkdir(path, { recursive: true });
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const name = `admin-${architecture}`;
  const cli = new AzaionCommand(WORKSPACE, join(offline, 'profile.json'));
  // The object store of the files is nobody's: the service's own directory stands in.
  const settings = Object.entries(adminDeployment(WORKSPACE, 'production').settings).filter(
    ([setting]) => !setting.startsWith('S3_'),
  );
  const environment = {
    ...Object.fromEntries(settings),
    ADMIN_HOST: '127.0.0.1',
    ADMIN_PORT: String(port),
    ADMIN_PUBLIC_URL: url,
  };
  const run = (without: readonly string[], ...args: string[]): string[] => [
    ...['run', ...CONFINED, '--platform', `linux/${architecture}`],
    ...['--health-timeout', '60s'], // an emulated processor takes its time
    ...['--volume', `${secrets}:${SECRETS}:ro`, '--volume', `${name}:/data`],
    ...Object.entries(environment).flatMap(([key, value]) =>
      without.includes(key) ? [] : ['--env', `${key}=${value}`],
    ),
    ...args,
  ];
  // As Kubernetes mounts secrets: root's, and readable for the group of the service.
  const handOver = async (): Promise<void> => {
    for (const file of await readdir(secrets)) {
      await chown(join(secrets, file), 0, NOBODY);
      await chmod(join(secrets, file), 0o440);
    }
  };
  await postgres.client('createdb', [architecture]);
  await writeClusterSecrets({
    directory: secrets,
    offline,
    databaseUrl: postgres.url(architecture),
    password: ADMINISTRATOR.password,
    cli,
    statementKey: async () => {
      await handOver();
      return docker(...run(['STATEMENT_KEY_DOCUMENT_FILE'], '--rm', image, 'statement-key'));
    },
  });
  await handOver();
  await docker(...run([], '--detach', '--name', name, image));
  await until(answersHttp(`${url}/health/ready`), () => docker('logs', name));
  await cli.run(['login', '--api', url, '--email', ADMINISTRATOR.email], ADMINISTRATOR.password);
  return {
    url,
    name,
    cli,
    provision: async (device) => {
      const staging = join(offline, device);
      await mkdir(join(staging, 'etc'), { recursive: true });
      await cli.run(['device', 'provision', staging, '--root-key', join(offline, 'root.jwk.pub.json')]);
      const path = join(home, `${device}.conf`);
      await writeFile(path, await readFile(join(staging, 'etc/azaion/device.conf')), { mode: 0o600 });
      await chown(path, NOBODY, NOBODY);
      return path;
    },
  };
}
