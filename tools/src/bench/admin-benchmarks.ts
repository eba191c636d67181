import { createECDH, randomBytes } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { setTimeout as delay } from 'node:timers/promises';

import { ApiClient, HttpAuthApi } from '@azaion/adapters/resource-api';
import { connectToEmbeddedDatabase } from '@azaion/adapters/split-evidence';
import { generateSoftwareKeys, proveEnrolment, signDeviceAssertion, SoftwareDeviceIdentity } from '@azaion/identity';
import { Secret, SystemClock } from '@azaion/kernel';
import { pseudoRandomStream, startPostgres, whyUnavailable } from '@azaion/testing';
import { hash, verify } from '@node-rs/argon2';
import { Client } from 'pg';

import { type Person, postJson, type StartedSystem } from '../e2e/started-system.js';
import { type BenchSystem, startBenchSystem } from './bench-system.js';
import { type Measurement, median, rounded } from './bench-result.js';
import { generateLoad, type Load, percentile } from './http-load.js';

const RESOURCE_BYTES = 200 * 1000 * 1000;
const USERS = 10_000;
const DEVICES = 10_000;
/** 10,000 devices that ask every five minutes. */
const POLLS_PER_SECOND = DEVICES / 300;
/** Logins of 10,000 devices, one for each access token. */
const LOGINS_PER_SECOND = DEVICES / 900;
/** For how long the API remembers a token that it has verified. */
const TOKENS_REMEMBERED_MS = 10_000;
/** Devices that ask, each in its turn: a round takes longer than that. */
const POLLING_DEVICES = 400;
/** What their group wants them to hold. */
const DESIRED_RESOURCES = 20;
const LOGINS = 10;
const TIMES = 5;
const GRANTS_BAR = 200;
/** As the Admin API computes them by default. */
const ARGON2ID = { algorithm: 2, memoryCost: 19_456, timeCost: 2, parallelism: 1 } as const;
const HASHES_AT_ONCE = 2;

/** A device that asks for its desired state. */
interface PollingDevice {
  readonly serial: string;
  readonly identity: SoftwareDeviceIdentity;
  readonly token: string;
}

/** P11: grants, logins and lists of the Admin API, on the embedded PostgreSQL and on the machine's own. */
export async function adminBenchmarks(): Promise<readonly Measurement[]> {
  const embedded = await measureOn('embedded PostgreSQL', undefined);
  const missing = whyUnavailable('postgresql');
  if (missing !== undefined) {
    console.error(missing);
    return embedded;
  }
  const postgres = await startPostgres();
  try {
    const release = (await postgres.client('psql', ['-Atc', 'show server_version'])).split(' ')[0] ?? '';
    return [...embedded, ...(await measureOn(`PostgreSQL ${release.trim()}`, postgres.url()))];
  } finally {
    await postgres.stop();
  }
}

async function measureOn(database: string, databaseUrl: string | undefined): Promise<readonly Measurement[]> {
  const bench = await startBenchSystem({
    adminEnv: {
      LOGIN_ATTEMPTS_PER_ADDRESS: '1000000',
      LOGIN_ATTEMPTS_PER_ACCOUNT: '1000000',
      ...(databaseUrl === undefined ? {} : { DATABASE_URL: databaseUrl }),
    },
  });
  try {
    const { system } = bench;
    const client =
      databaseUrl === undefined
        ? await connectToEmbeddedDatabase(system.adminDataDir)
        : new Client({ connectionString: databaseUrl });
    if (databaseUrl !== undefined) await client.connect();
    try {
      await fill(client);
      return [
        ...(await grants(bench, database)),
        await logins(bench, database),
        await userList(bench, database),
        await polls(bench, client, database),
      ];
    } finally {
      await client.end();
    }
  } finally {
    await bench.stop();
  }
}

/** Accounts and devices as a large installation has them. */
async function fill(client: Client): Promise<void> {
  await client.query(
    `insert into users (id, email, password_hash, role)
     select gen_random_uuid(), 'person-' || number || '@example.com', '', 'Operator' from generate_series(1, ${USERS}) number`,
  );
  await client.query(
    `with made as (
       insert into users (id, email, password_hash, role)
       select gen_random_uuid(), 'bench-' || number || '@azaion.com', '', 'CompanionPC' from generate_series(1, ${DEVICES}) number
       returning id, email)
     insert into devices (id, serial, user_id, status, created_at)
     select gen_random_uuid(), split_part(email, '@', 1), id, 'registered', now() from made`,
  );
  await client.query('analyze');
}

async function grants(bench: BenchSystem, database: string): Promise<readonly Measurement[]> {
  const file = join(bench.directory.path, 'model.bin');
  await pipeline(pseudoRandomStream('grants', RESOURCE_BYTES), createWriteStream(file));
  await bench.azaion('publish', file);
  const ecdh = createECDH('prime256v1');
  const recipientPublicKey = ecdh.generateKeys('base64url');
  const load: Load = {
    method: 'POST',
    url: `${bench.system.adminUrl}/sealed/models/model.bin/grants`,
    headers: { authorization: `Bearer ${await bench.token()}` },
    body: () => JSON.stringify({ recipientPublicKey, nonce: randomBytes(16).toString('base64url') }),
    expect: 201,
    requests: 2_000,
    atOnce: 16,
  };
  await generateLoad({ ...load, requests: 500 }); // warm
  const bare = await generateLoad({
    method: 'GET',
    url: `${bench.system.adminUrl}/health/live`,
    expect: 200,
    requests: 2_000,
    atOnce: 16,
  });
  const rates: number[] = [];
  for (let time = 0; time < TIMES; time += 1) rates.push((await generateLoad(load)).perSecond);
  const half = GRANTS_BAR / 2;
  const paced: number[] = [];
  for (let time = 0; time < TIMES; time += 1) {
    const { latenciesMs } = await generateLoad({ ...load, requests: half * 10, perSecond: half, atOnce: 64 });
    paced.push(percentile(latenciesMs, 0.99));
  }
  const rate = median(rates);
  const latency = median(paced);
  return [
    {
      id: 'P11',
      bar: `grants for a 200 MB resource, ${database}: at least ${GRANTS_BAR}/s`,
      value: rate,
      unit: '/s',
      limit: GRANTS_BAR,
      direction: 'min',
      peers: { 'GET /health/live per second': rounded(bare.perSecond) },
    },
    {
      id: 'P11',
      bar: `p99 at ${half} grants/s, ${database}: at most 60 ms`,
      value: latency,
      unit: 'ms',
      limit: 60,
      direction: 'max',
      peers: { 'GET /health/live p99 ms': rounded(percentile(bare.latenciesMs, 0.99)) },
    },
  ];
}

/** Ten logins at once beside the same ten hashes alone, as many at a time, in turn. */
async function logins(bench: BenchSystem, database: string): Promise<Measurement> {
  const person: Person = await bench.system.createPerson('Operator');
  const stored = await hash(person.password, ARGON2ID);
  const alone: number[] = [];
  const whole: number[] = [];
  for (let time = 0; time <= TIMES; time += 1) {
    const hashes = await hashesAlone(stored, person.password);
    const { latenciesMs } = await generateLoad({
      method: 'POST',
      url: `${bench.system.adminUrl}/login`,
      body: () => JSON.stringify(person),
      expect: 200,
      requests: LOGINS,
      atOnce: LOGINS,
    });
    if (time === 0) continue; // warm
    alone.push(percentile(hashes, 0.95));
    whole.push(percentile(latenciesMs, 0.95));
  }
  const ratio = median(whole) / median(alone);
  return {
    id: 'P11',
    bar: `ten logins at once, ${database}: p95 at most 2.5 × the same ten hashes alone`,
    value: ratio,
    unit: '×',
    limit: 2.5,
    direction: 'max',
    peers: { 'logins p95 ms': rounded(median(whole)), 'hashes p95 ms': rounded(median(alone)) },
  };
}

async function hashesAlone(stored: string, password: string): Promise<readonly number[]> {
  const startMs = performance.now();
  const latenciesMs: number[] = [];
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next++ < LOGINS) {
      await verify(stored, password);
      latenciesMs.push(performance.now() - startMs);
    }
  };
  await Promise.all(Array.from({ length: HASHES_AT_ONCE }, worker));
  return latenciesMs;
}

async function userList(bench: BenchSystem, database: string): Promise<Measurement> {
  const token = await tokenOf(bench.system, bench.system.administrator);
  const measure = async (query: string): Promise<number> => {
    const { latenciesMs } = await generateLoad({
      method: 'GET',
      url: `${bench.system.adminUrl}/users?${query}`,
      headers: { authorization: `Bearer ${token}` },
      expect: 200,
      requests: 300,
      atOnce: 4,
    });
    return percentile(latenciesMs, 0.95);
  };
  await measure('limit=200');
  const page = await measure('limit=200');
  const later = await measure('limit=200&cursor=person-5000%40example.com');
  const search = await measure('searchEmail=son-9999');
  return {
    id: 'P11',
    bar: `GET /users with ${USERS + DEVICES} accounts, ${database}: p95 at most 200 ms`,
    value: Math.max(page, later, search),
    unit: 'ms',
    limit: 200,
    direction: 'max',
    peers: { 'first page': rounded(page), 'a later page': rounded(later), search: rounded(search) },
  };
}

/**
 * What a fleet costs that asks for its desired state: no bar, but what docs/scale.md counts with. Each question has a token of its own that was not
 * sent for longer than tokens are remembered; the devices hold a group's wishes for the newest of some resources; every second question of a
 * device is one that writes down when it was seen; and devices log in with their keys meanwhile, as often as 10,000 do.
 */
async function polls(bench: BenchSystem, client: Client, database: string): Promise<Measurement> {
  const { system } = bench;
  const devices = await pollingDevices(bench);
  const url = `${system.adminUrl}/devices/me/desired`;
  const etags = new Map<string, string>();
  for (const { token } of devices) {
    const first = await fetch(url, { headers: { authorization: `Bearer ${token}` } });
    etags.set(token, first.headers.get('etag') ?? '');
  }
  const questions: Load = {
    method: 'GET',
    url,
    headers: (index) => {
      const { token } = inTurn(devices, index);
      return { authorization: `Bearer ${token}`, 'if-none-match': etags.get(token) ?? '' };
    },
    expect: 304,
    requests: devices.length * 5,
    atOnce: 16,
  };
  const fastest = await generateLoad(questions);
  await client.query('update devices set last_seen_at = null'); // as if all had been seen ten minutes ago
  await delay(TOKENS_REMEMBERED_MS);
  const seconds = (devices.length * 2) / POLLS_PER_SECOND;
  const assertions = await Promise.all(
    Array.from({ length: Math.floor(seconds * LOGINS_PER_SECOND) }, (_, index) => {
      const { identity, serial } = inTurn(devices, index);
      return signDeviceAssertion(identity, serial, 'azaion', new SystemClock());
    }),
  );
  const beforeSeconds = await cpuSeconds(system.admin.pid);
  const startMs = performance.now();
  const [paced] = await Promise.all([
    generateLoad({ ...questions, requests: devices.length * 2, perSecond: POLLS_PER_SECOND }),
    generateLoad({
      method: 'POST',
      url: `${system.adminUrl}/login/device`,
      body: (index) => JSON.stringify({ assertion: assertions[index] }),
      expect: 200,
      requests: assertions.length,
      atOnce: 4,
      perSecond: LOGINS_PER_SECOND,
    }),
  ]);
  const share = (await cpuSeconds(system.admin.pid)) - beforeSeconds;
  const percent = (share * 100_000) / (performance.now() - startMs);
  return {
    id: 'P11',
    bar: `desired state, ${DEVICES} devices every 5 minutes with their logins, ${database}: at most a quarter of a core`,
    value: percent,
    unit: '% of a core',
    limit: 25,
    direction: 'max',
    peers: {
      'p99 ms': rounded(percentile(paced.latenciesMs, 0.99)),
      'most per second, tokens remembered': rounded(fastest.perSecond),
      'logins per second': rounded(LOGINS_PER_SECOND),
    },
  };
}

/** Devices of one group that holds the newest of some resources. */
async function pollingDevices(bench: BenchSystem): Promise<readonly PollingDevice[]> {
  const { system } = bench;
  const administrator = await tokenOf(system, system.administrator);
  const file = join(bench.directory.path, 'desired.bin');
  const resources = Array.from({ length: DESIRED_RESOURCES }, (_, index) => `desired-${index}.bin`);
  for (const name of resources) {
    await writeFile(file, name);
    await bench.azaion('publish', file, '--name', name, '--folder', 'models');
  }
  const put = async (path: string, body?: object): Promise<void> => {
    const { ok, status } = await fetch(`${system.adminUrl}${path}`, {
      method: 'PUT',
      headers: {
        authorization: `Bearer ${administrator}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    if (!ok) throw new Error(`PUT ${path} answered ${status}`);
  };
  await put('/groups/polling/desired', {
    resources: resources.map((name) => ({ folder: 'models', name, version: 'latest' })),
  });
  const devices: PollingDevice[] = [];
  while (devices.length < POLLING_DEVICES) {
    const device = await enrolledDevice(system, administrator);
    await put(`/groups/polling/members/${device.serial}`);
    devices.push(device);
  }
  return devices;
}

async function tokenOf(system: StartedSystem, person: Person): Promise<string> {
  return (await postJson<{ access_token: string }>(`${system.adminUrl}/login`, person)).access_token;
}

/** A device of its own, enrolled and logged in by its key. */
async function enrolledDevice(system: StartedSystem, administrator: string): Promise<PollingDevice> {
  const device = await postJson<{ Serial: string; Email: string; Password: string }>(
    `${system.adminUrl}/devices`,
    {},
    administrator,
  );
  const client = new ApiClient({ baseUrl: system.adminUrl });
  try {
    const auth = new HttpAuthApi(client);
    const identity = new SoftwareDeviceIdentity('credentials', await generateSoftwareKeys());
    const challenge = await auth.enrolmentChallenge(device.Serial, device.Email, new Secret(device.Password));
    await auth.enrol(device.Serial, await proveEnrolment(identity, device.Serial, challenge));
    const assertion = await signDeviceAssertion(identity, device.Serial, 'azaion', new SystemClock());
    const token = (await auth.loginDevice(assertion)).accessToken.reveal();
    return { serial: device.Serial, identity, token };
  } finally {
    await client.close();
  }
}

/** User and system time of a process so far (proc(5): fields 14 and 15, in hundredths of a second). */
async function cpuSeconds(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8');
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/** The item whose turn it is, round after round. */
function inTurn<Item>(items: readonly Item[], index: number): Item {
  const item = items[index % items.length];
  if (item === undefined) throw new Error('there is nothing to take in turn');
  return item;
}
