import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';

import {
  describeWith,
  freePort,
  type PostgresServer,
  runCommand,
  type RunningProcess,
  startPostgres,
  startProcess,
  type TempDirectory,
  tempDirectory,
} from '@azaion/testing';

import { AzaionCommand } from '../demo/azaion-command.js';
import { adminDeployment, SECRETS } from '../deploy/admin-deployment.js';
import { writeClusterSecrets } from '../deploy/cluster-secrets.js';
import { Kubelet } from '../deploy/kubelet.js';
import { WORKSPACE } from '../started-service.js';

/** A pod's address, as far as the service can tell: no name, and not the one that it calls itself by. */
const POD = '127.0.0.2';
/** Waiting proves nothing. Timeouts and thresholds are those of the files. */
const HASTENED = 20;
const MAIN = join(WORKSPACE, 'apps', 'admin-api', 'dist', 'main.js');

describeWith('postgresql', 'F6: the Admin API, probed as the files for Kubernetes say', () => {
  const { container, settings } = adminDeployment(WORKSPACE, 'production');
  let directory: TempDirectory;
  let postgres: PostgresServer;
  let port: number;
  let environment: Readonly<Record<string, string>>;
  let service: RunningProcess | undefined;
  let kubelet: Kubelet;

  beforeAll(async () => {
    port = await freePort();
    kubelet = new Kubelet(container, { host: POD, port, hastened: HASTENED });
    directory = await tempDirectory('azaion-probes');
    postgres = await startPostgres();
    const [secrets, offline] = [join(directory.path, 'secrets'), join(directory.path, 'offline')];
    for (const path of [secrets, offline]) await mkdir(path);
    const mounted = Object.entries(settings)
      // The object store of the files is nobody's: the service's own directory stands in.
      .filter(([name]) => !name.startsWith('S3_'))
      .map(([name, value]) => [name, value.replace(`${SECRETS}/`, `${secrets}/`)] as const);
    environment = {
      ...Object.fromEntries(mounted),
      // As the image sets them.
      NODE_ENV: 'production',
      ADMIN_HOST: POD,
      ADMIN_PORT: String(port),
      ADMIN_DATA_DIR: join(directory.path, 'data'),
      ADMIN_PUBLIC_URL: `http://${POD}:${port}`,
    };
    await writeClusterSecrets({
      directory: secrets,
      offline,
      databaseUrl: postgres.url(),
      password: 'correct horse battery',
      cli: new AzaionCommand(WORKSPACE, join(offline, 'profile.json')),
      statementKey: () => {
        const known = Object.entries(environment).filter(([name]) => name !== 'STATEMENT_KEY_DOCUMENT_FILE');
        const list = known.map(([name, value]) => `${name}=${value}`);
        return runCommand('env', [...list, process.execPath, MAIN, 'statement-key']);
      },
    });
  }, 120_000);

  afterAll(async () => {
    await kubelet.stop();
    await service?.stop();
    await postgres.stop();
    await directory.remove();
  });

  it('is not ready while it starts, and is ready without ever having been started anew', async () => {
    await kubelet.until(({ answers }) => answers.length > 0);
    expect(kubelet.ready).toBe(false);
    service = await startProcess({ command: process.execPath, args: [MAIN], env: environment });
    await kubelet.until(({ ready }) => ready);
    expect(kubelet.started).toBe(true);
    expect(kubelet.restarts).toBe(0);
  });

  it('loses its requests, and is not started anew, while its database is away', async () => {
    const before = kubelet.answers.length;
    await postgres.crash();
    await kubelet.until(({ ready }) => !ready);
    const away = kubelet.answers.length;
    const { failureThreshold } = container.livenessProbe;
    await kubelet.until((one) => one.statusesOf('liveness', away).length > failureThreshold);
    expect(kubelet.statusesOf('readiness', before)).toContain(503);
    expect(kubelet.statusesOf('liveness', before)).not.toContain(503);
    expect(kubelet.restarts).toBe(0);

    await postgres.restart();
    await kubelet.until(({ ready }) => ready);
    expect(kubelet.restarts).toBe(0);
  });
});
