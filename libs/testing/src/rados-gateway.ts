import { randomBytes, randomUUID } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { freePort } from './free-port.js';
import { runCommand } from './run-command.js';
import { answersHttp, type RunningProcess, startProcess } from './running-process.js';
import { signedS3Request } from './signed-s3-request.js';
import { tempDirectory } from './temp-directory.js';

/** A real S3 service with a bucket to work in. */
export interface S3Service {
  /** Base URL, path style. */
  readonly endpoint: string;
  readonly region: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** Exists. Empty, unless the service was lent by the environment. */
  readonly bucket: string;
  /** Stops the service and deletes its data; a service lent by the environment is left alone. */
  stop(): Promise<void>;
}

/** Sparse: only what is written takes space. */
const STORE_BYTES = 40 * 1024 ** 3;
const REGION = 'us-east-1';
const BUCKET = 'azaion-test';

/**
 * Starts a Ceph RADOS gateway of its own (one monitor, one OSD on a file, one gateway; cephx; loopback) in about 10 s,
 * or takes the service that `S3_TEST_ENDPOINT`, `S3_TEST_ACCESS_KEY_ID`, `S3_TEST_SECRET_ACCESS_KEY`, `S3_TEST_BUCKET`
 * (and `S3_TEST_REGION`) name, so that a MinIO or AWS can stand in.
 *
 * @throws Error with the failing daemon's output; nothing keeps running then.
 */
export async function startRadosGateway(): Promise<S3Service> {
  return lentService() ?? (await startOwn());
}

function lentService(): S3Service | undefined {
  const {
    S3_TEST_ENDPOINT: endpoint,
    S3_TEST_ACCESS_KEY_ID: accessKeyId,
    S3_TEST_SECRET_ACCESS_KEY: secretAccessKey,
    S3_TEST_BUCKET: bucket,
    S3_TEST_REGION: region = REGION,
  } = process.env;
  if (endpoint === undefined) return undefined;
  if (accessKeyId === undefined || secretAccessKey === undefined || bucket === undefined) {
    throw new Error('S3_TEST_ENDPOINT also needs S3_TEST_ACCESS_KEY_ID, S3_TEST_SECRET_ACCESS_KEY and S3_TEST_BUCKET.');
  }
  return { endpoint, region, accessKeyId, secretAccessKey, bucket, stop: () => Promise.resolve() };
}

async function startOwn(): Promise<S3Service> {
  const directory = await tempDirectory('azaion-ceph');
  const daemons: RunningProcess[] = [];
  const stop = async (): Promise<void> => {
    for (const daemon of daemons.toReversed()) await daemon.stop();
    await directory.remove();
  };
  try {
    return { ...(await startCluster(directory.path, daemons)), stop };
  } catch (cause) {
    await stop();
    throw cause;
  }
}

async function startCluster(directory: string, daemons: RunningProcess[]): Promise<Omit<S3Service, 'stop'>> {
  const inside = (name: string): string => join(directory, name);
  const fsid = randomUUID();
  const monitorPort = await freePort();
  const gatewayPort = await freePort();
  const endpoint = `http://127.0.0.1:${gatewayPort}`;
  const configuration = inside('ceph.conf');
  const keyring = inside('keyring');
  await writeFile(configuration, cephConfiguration(directory, fsid, monitorPort, gatewayPort));
  for (const name of ['mon', 'osd', 'rgw', 'crash']) await mkdir(inside(name));
  // Without arguments of its own each program would read /etc/ceph and talk to a cluster of the machine.
  const common = ['-c', configuration];
  const daemon = async (command: string, args: string[], ready?: () => Promise<boolean>): Promise<void> => {
    const options = { command, args: [...common, '-f', ...args], readyTimeoutMs: 120_000, stopTimeoutMs: 5000 };
    daemons.push(await startProcess(ready === undefined ? options : { ...options, ready }));
  };
  const ceph = (...args: string[]): Promise<string> =>
    runCommand('ceph', [...common, '--connect-timeout', '60', ...args]);

  await runCommand('ceph-authtool', [
    '--create-keyring',
    keyring,
    '--gen-key',
    '-n',
    'mon.',
    '--cap',
    'mon',
    'allow *',
  ]);
  for (const name of ['client.admin', 'client.rgw', 'osd.0']) {
    await runCommand('ceph-authtool', [
      keyring,
      '--gen-key',
      '-n',
      name,
      '--cap',
      'mon',
      'allow *',
      '--cap',
      'osd',
      'allow *',
    ]);
  }
  const monitorMap = inside('monmap');
  await runCommand('monmaptool', [
    '--create',
    '--fsid',
    fsid,
    '--addv',
    'a',
    `[v1:127.0.0.1:${monitorPort}]`,
    monitorMap,
  ]);
  await runCommand('ceph-mon', [...common, '--mkfs', '-i', 'a', '--monmap', monitorMap, '--keyring', keyring]);
  await daemon('ceph-mon', ['-i', 'a']);

  const osdId = randomUUID();
  await ceph('osd', 'new', osdId);
  await runCommand('ceph-osd', [...common, '-i', '0', '--mkfs', '--osd-uuid', osdId]);
  await daemon('ceph-osd', ['-i', '0'], async () => (await ceph('osd', 'stat')).includes('1 up'));

  await daemon('radosgw', ['-n', 'client.rgw'], answersHttp(endpoint));
  const accessKeyId = randomBytes(10).toString('hex').toUpperCase();
  const secretAccessKey = randomBytes(20).toString('hex');
  await runCommand('radosgw-admin', [
    ...common,
    '-n',
    'client.rgw',
    '--admin-socket',
    '',
    'user',
    'create',
    '--uid=azaion',
    '--display-name=azaion',
    `--access-key=${accessKeyId}`,
    `--secret-key=${secretAccessKey}`,
  ]);
  const created = await signedS3Request(
    endpoint,
    { accessKeyId, secretAccessKey, region: REGION },
    'PUT',
    `/${BUCKET}`,
  );
  if (!created.ok) throw new Error(`The bucket could not be made: ${created.status} ${await created.text()}`);
  return { endpoint, region: REGION, accessKeyId, secretAccessKey, bucket: BUCKET };
}

function cephConfiguration(directory: string, fsid: string, monitorPort: number, gatewayPort: number): string {
  return `[global]
fsid = ${fsid}
mon host = v1:127.0.0.1:${monitorPort}
public addr = 127.0.0.1
ms bind msgr2 = false
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
auth allow insecure global id reclaim = false
keyring = ${directory}/keyring
run dir = ${directory}
admin socket = ${directory}/$name.asok
pid file = ${directory}/$name.pid
log file = ${directory}/$name.log
mon cluster log file = ${directory}/cluster.log
crash dir = ${directory}/crash
[mon]
mon data = ${directory}/mon
mon data avail warn = 0
mon data avail crit = 0
mon allow pool size one = true
mon warn on pool no redundancy = false
mon osd full ratio = 0.98
mon osd backfillfull ratio = 0.97
mon osd nearfull ratio = 0.96
paxos propose interval = 0.05
paxos min wait = 0.01
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
[osd]
osd data = ${directory}/osd
osd objectstore = bluestore
osd memory target = 939524096
bluestore block size = ${STORE_BYTES}
bluestore block create = true
[client.rgw]
rgw data = ${directory}/rgw
rgw frontends = beast endpoint=127.0.0.1:${gatewayPort}
rgw thread pool size = 32
`;
}
