/* eslint-disable @typescript-eslint/no-unsafe-assignment, @typescript-eslint/no-unsafe-member-access -- answers are looked into as they come */
import { AsyncResource } from 'node:async_hooks';

import { SystemClock, toBase64Url } from '@azaion/kernel';
import { describeWith, type PostgresServer, pseudoRandomBytes, startPostgres, startTcpProxy } from '@azaion/testing';
import { sql } from 'kysely';

import { Database, SecondConnectionError } from '../persistence/database.js';
import { Outages } from '../persistence/outages.js';
import { TestDevice } from '../testing/device.js';
import { DraftUpload } from '../testing/draft-upload.js';
import { type Account, type Answer, type StartedApi, startApi } from '../testing/started-api.js';

const CRASHES = 2;
const SCRAPE_TOKEN = 'a-token-of-the-scraper';

describeWith('postgresql', 'an Admin API whose PostgreSQL goes away', () => {
  let postgres: PostgresServer;
  let api: StartedApi;
  let person: Account;
  let device: TestDevice;
  let deviceToken: string;
  beforeAll(async () => {
    postgres = await startPostgres();
    api = await startApi({
      DATABASE_URL: postgres.url(),
      LOGIN_ATTEMPTS_PER_ACCOUNT: '100000',
      METRICS_TOKEN: SCRAPE_TOKEN,
    });
    person = await api.account('ResourceUploader');
    device = await TestDevice.enrolled(api);
    deviceToken = await device.token();
    const upload = await DraftUpload.open(api, person, 'models/model.bin');
    expect((await upload.commit(upload.draft(await upload.pack(pseudoRandomBytes('outage', 100))))).status).toBe(201);
  });
  afterAll(async () => {
    await api.stop();
    await postgres.stop();
  });

  const requests: Readonly<Record<string, () => Promise<Answer>>> = {
    'a person’s login': () => api.logIn(person.email, person.password),
    'a device’s login': async () => device.logIn(await device.assertion()),
    'who one is': () => api.call('GET', '/users/current', { token: person.token }),
    'a new device': () => api.call('POST', '/devices', { token: api.administrator.token, body: {} }),
    'a grant': () =>
      api.call('POST', '/sealed/models/model.bin/grants', {
        token: deviceToken,
        body: {
          recipientPublicKey: toBase64Url(device.agreement.point),
          nonce: toBase64Url(pseudoRandomBytes('nonce', 16)),
        },
      }),
    'the desired state': () => api.call('GET', '/devices/me/desired', { token: deviceToken }),
    'a new upload': () => api.call('POST', '/sealed/models/other.bin/uploads', { token: person.token, body: {} }),
    'an older client’s list': () => api.call('GET', '/resources/list', { token: person.token }),
    'keys of tokens': () => api.call('GET', '/.well-known/jwks.json'),
  };
  const isGood = ({ status }: Answer): boolean => status >= 200 && status < 300;
  const allGood = async (): Promise<void> => {
    for (const [name, ask] of Object.entries(requests)) expect([name, isGood(await ask())]).toEqual([name, true]);
  };

  it('answers 503 to whatever needs it, with a time to come back, and serves again when it is back', async () => {
    await allGood();
    await postgres.crash();
    for (const [name, ask] of Object.entries(requests))
      for (const times of [1, 2]) {
        const { status, headers, json } = await ask();
        expect([name, times, status, json.code]).toEqual([name, times, 503, 'database.unavailable']);
        expect(Number(headers.get('retry-after'))).toBeGreaterThan(0);
      }
    expect((await api.call('GET', '/health/live')).status).toBe(200);
    const metrics = await api.call('GET', '/metrics', { token: SCRAPE_TOKEN });
    expect(metrics.text).toContain('route="/login",status="503"');
    expect(metrics.text).not.toContain('azaion_versions_unverified{');
    await postgres.restart();
    await allGood();
  });

  it('answers nothing but good answers and 503 when it crashes under load, again and again', async () => {
    const statuses = new Map<string, Set<number>>();
    const good = new Map<string, number>();
    let over = false;
    const worker = async (name: string, ask: () => Promise<Answer>): Promise<void> => {
      while (!over) {
        const answer = await ask();
        statuses.set(name, (statuses.get(name) ?? new Set()).add(answer.status));
        if (isGood(answer)) good.set(name, (good.get(name) ?? 0) + 1);
      }
    };
    const workers = Object.entries(requests).flatMap(([name, ask]) => [worker(name, ask), worker(name, ask)]);
    /** Waits until every kind of request has been answered well twice more. */
    const served = async (): Promise<void> => {
      const before = new Map(good);
      while (Object.keys(requests).some((name) => (good.get(name) ?? 0) < (before.get(name) ?? 0) + 2))
        await api.call('GET', '/health/live');
    };
    try {
      for (let crashes = 0; crashes < CRASHES; crashes++) {
        await served();
        await postgres.crash();
        await postgres.restart();
      }
      await served();
    } finally {
      over = true;
    }
    await Promise.all(workers);
    for (const [name, seen] of statuses)
      expect([name, [...seen].filter((status) => status >= 300 && status !== 503)]).toEqual([name, []]);
    await allGood();
  });

  describe('told apart from a statement that fails', () => {
    const UNAVAILABLE = { code: 'database.unavailable', details: { retryAfterSeconds: 5 } };
    let database: Database;
    const told: string[] = [];
    beforeAll(() => {
      const outages = new Outages(new SystemClock(), { began: (reason) => told.push(reason), ended: () => undefined });
      database = new Database(
        { connectionString: postgres.url() },
        { connections: 1, connectionWaitMs: 2_000, outages },
      );
    });
    afterAll(() => database.close());

    it('by who waits too long for a connection', async () => {
      await database.check();
      const [begun, over] = [Promise.withResolvers<undefined>(), Promise.withResolvers<undefined>()];
      const other = database.transaction(() => {
        begun.resolve(undefined);
        return over.promise;
      });
      await begun.promise;
      await Promise.all([
        expect(database.check()).rejects.toMatchObject(UNAVAILABLE),
        expect(database.prepared({ name: 'spec-one', text: 'select 1' }, [])).rejects.toMatchObject(UNAVAILABLE),
      ]);
      over.resolve(undefined);
      await other;
      expect(told).toEqual(['timeout exceeded when trying to connect']);
    });

    it('and from a fault in the program: a second connection within a transaction, which could wait for itself', async () => {
      let left: () => Promise<unknown> = () => Promise.resolve();
      await database.transaction(async (on) => {
        for (const ask of [
          () => database.check(),
          () => database.prepared({ name: 'spec-one', text: 'select 1' }, []),
          () => database.transaction(() => Promise.resolve()),
        ])
          await expect(ask()).rejects.toThrow(SecondConnectionError);
        left = AsyncResource.bind(() => database.check());
        await sql`select 1`.execute(on);
      });
      await left(); // what goes on after it is in none
    });

    it.each([
      ['a time limit', sql`select pg_sleep(60)`, sql`set local statement_timeout = 1`],
      ['an operator who ends the session', sql`select pg_terminate_backend(pg_backend_pid())`, sql`select 1`],
      ['a server that takes no writes', sql`delete from rate_limits`, sql`set local transaction_read_only = on`],
    ])('by who meets %s', async (_, statement, before) => {
      const failing = database.transaction(async (on) => {
        await before.execute(on);
        await statement.execute(on);
      });
      await expect(failing).rejects.toMatchObject(UNAVAILABLE);
      await database.check();
    });

    it('by the victim of a deadlock, which is no outage; the other goes on', async () => {
      const other = new Database({ connectionString: postgres.url() });
      const toldBefore = told.length;
      try {
        const [both, arrived] = [Promise.withResolvers<undefined>(), { count: 0 }];
        const crossing = (on: Database, ...locks: readonly [number, number]): Promise<unknown> =>
          on.transaction(async (queries) => {
            await sql`select pg_advisory_xact_lock(${locks[0]})`.execute(queries);
            if (++arrived.count === 2) both.resolve(undefined);
            await both.promise;
            await sql`select pg_advisory_xact_lock(${locks[1]})`.execute(queries);
          });
        const outcomes = await Promise.allSettled([crossing(database, 1, 2), crossing(other, 2, 1)]);
        expect(outcomes.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
        expect(outcomes.find(({ status }) => status === 'rejected')).toMatchObject({ reason: UNAVAILABLE });
        await database.check();
        expect(told.slice(toldBefore)).toEqual([]);
      } finally {
        await other.close();
      }
    });

    it('by who finds the connection gone between two statements', async () => {
      const failing = database.transaction(async (on) => {
        const { rows } = await sql<{ pid: number }>`select pg_backend_pid() as pid`.execute(on);
        await postgres.client('psql', ['-c', `select pg_terminate_backend(${String(rows[0]?.pid)}, 10000)`]);
        await sql`select 1`.execute(on);
      });
      await expect(failing).rejects.toMatchObject(UNAVAILABLE);
      await database.check();
    });

    it('by who gets no answer from a server that is gone without a word, and not by who comes after it', async () => {
      const proxy = await startTcpProxy({ port: Number(new URL(postgres.url()).port) });
      const url = new URL(postgres.url());
      url.port = String(proxy.port);
      const remote = new Database({ connectionString: url.href }, { connections: 1, answerWaitMs: 500 });
      try {
        const statements: Readonly<Record<string, () => Promise<unknown>>> = {
          prepared: () => remote.prepared({ name: 'spec-one', text: 'select 1' }, []),
          'in a transaction': () => remote.transaction((on) => sql`select 1`.execute(on)),
        };
        for (const [name, ask] of Object.entries(statements)) {
          await ask();
          proxy.change({ stallAfterBytes: 0 });
          expect([name, await ask().catch((error: unknown) => error)]).toMatchObject([name, UNAVAILABLE]);
          proxy.change({});
          await ask();
        }
      } finally {
        await remote.close();
        await proxy.stop();
      }
    });

    it('and what a statement does wrong stays what it is', async () => {
      const wrong = sql`select 1 / 0`.execute(database.queries);
      await expect(wrong).rejects.toMatchObject({ code: '22012' });
      const missing = sql`select * from no_such_table`.execute(database.queries);
      await expect(missing).rejects.toMatchObject({ code: '42P01' });
    });
  });
});
