import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import {
  describeWith,
  freePort,
  type PostgresServer,
  pseudoRandomBytes,
  runCommand,
  type RunningProcess,
  type S3Service,
  signedS3Request,
  startPostgres,
  startProcess,
  startRadosGateway,
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
const PASSWORD = 'correct horse battery';
const MAIN = join(WORKSPACE, 'apps', 'admin-api', 'dist', 'main.js');

describeWith(['postgresql', 'ceph'], 'F6: the Admin API, probed as the files for Kubernetes say', () => {
  const { container, settings } = adminDeployment(WORKSPACE, 'production');
  let directory: TempDirectory;
  let postgres: PostgresServer;
  let s3: S3Service;
  let cli: AzaionCommand;
  let url: string;
  let environment: Readonly<Record<string, string>>;
  let service: RunningProcess | undefined;
  let kubelet: Kubelet;

  beforeAll(async () => {
    const port = await freePort();
    url = `http://${POD}:${port}`;
    kubelet = new Kubelet(container, { host: POD, port, hastened: HASTENED });
    directory = await tempDirectory('azaion-probes');
    [postgres, s3] = await Promise.all([startPostgres(), startRadosGateway()]);
    const [secrets, offline] = [join(directory.path, 'secrets'), join(directory.path, 'offline')];
    for (const path of [secrets, offline]) await mkdir(path);
    const mounted = Object.entries(settings).map(
      ([name, value]) => [name, value.replace(`${SECRETS}/`, `${secrets}/`)] as const,
    );
    environment = {
      ...Object.fromEntries(mounted),
      // As the image sets them.
      NODE_ENV: 'production',
      ADMIN_HOST: POD,
      ADMIN_PORT: String(port),
      ADMIN_DATA_DIR: join(directory.path, 'data'),
      ADMIN_PUBLIC_URL: url,
      S3_ENDPOINT: s3.endpoint,
      S3_PUBLIC_ENDPOINT: s3.endpoint,
      S3_REGION: s3.region,
      S3_BUCKET: s3.bucket,
    };
    cli = new AzaionCommand(WORKSPACE, join(offline, 'profile.json'));
    await writeClusterSecrets({
      directory: secrets,
      offline,
      databaseUrl: postgres.url(),
      objectStore: s3,
      password: PASSWORD,
      cli,
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
    await Promise.all([postgres.stop(), s3.stop()]);
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

  it('keeps what is published in the bucket of its settings, with the keys of its secret', async () => {
    const file = join(directory.path, 'model.bin');
    await writeFile(file, pseudoRandomBytes('model', 100_000));
    await cli.run(['login', '--api', url, '--email', environment['BOOTSTRAP_ADMIN_EMAIL']!], PASSWORD);
    await cli.run(['publish', file, '--name', 'model.bin', '--folder', 'models']);
    const listed = await signedS3Request(s3.endpoint, s3, 'GET', `/${s3.bucket}`);
    expect(await listed.text()).toMatch(/<Key>packs\/[0-9a-f-]{36}\/[0-9a-f]{32}<\/Key>/);
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
