/* eslint-disable @typescript-eslint/no-unsafe-assignment, @typescript-eslint/no-unsafe-member-access -- answers are looked into as they come */
import { join } from 'node:path';

import { describeWith, type PostgresServer, startPostgres, type TempDirectory, tempDirectory } from '@azaion/testing';

import { Database } from '../persistence/database.js';
import { type Answer, type StartedApi, startApi } from '../testing/started-api.js';

const DEVICES = 100;
/** Of changes that race. */
const ROUNDS = 20;

describeWith('postgresql', 'two replicas on one PostgreSQL', () => {
  let postgres: PostgresServer;
  beforeAll(async () => {
    postgres = await startPostgres();
  });
  afterAll(() => postgres.stop());

  it('bring a fresh schema up to date together, each migration once', async () => {
    await postgres.client('createdb', ['migrated']);
    const replicas = Array.from({ length: 4 }, () => new Database({ connectionString: postgres.url('migrated') }));
    try {
      await Promise.all(replicas.map((replica) => replica.migrate()));
      await Promise.all(replicas.map((replica) => replica.check()));
      const applied = await postgres.client('psql', ['migrated', '-Atc', 'select name from kysely_migration']);
      const names = applied.trim().split('\n');
      expect(names.length).toBeGreaterThan(2);
      expect(new Set(names).size).toBe(names.length);
    } finally {
      await Promise.all(replicas.map((replica) => replica.close()));
    }
  });

  describe('behind one address', () => {
    let replicas: readonly StartedApi[];
    let keys: TempDirectory;
    const of = (index: number): StartedApi => replicas[index % replicas.length]!;
    beforeAll(async () => {
      keys = await tempDirectory();
      // Both start on an empty database, with one KEK: one administrator, one root key.
      replicas = await startReplicas(postgres.url(), keys);
    });
    afterAll(async () => {
      await Promise.all(replicas.map((replica) => replica.stop()));
      await keys.remove();
    });

    it('number a hundred devices that are registered at once without a gap in form, a repeat or a failure', async () => {
      const answers = await Promise.all(
        Array.from({ length: DEVICES }, (_, index) =>
          of(index).call('POST', '/devices', { token: of(index).administrator.token, body: {} }),
        ),
      );
      expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: DEVICES }, () => 201));
      const serials = answers.map(({ json }) => json.Serial as string);
      expect(new Set(serials).size).toBe(DEVICES);
      for (const serial of serials) expect(serial).toMatch(/^azj-\d{4}$/);
    });

    it('make one device of one Idempotency-Key, whichever is asked', async () => {
      const answers = await Promise.all(
        Array.from({ length: 10 }, (_, index) =>
          of(index).call('POST', '/devices', {
            token: of(index).administrator.token,
            body: {},
            headers: { 'idempotency-key': 'one' },
          }),
        ),
      );
      expect(new Set(answers.map(({ json }) => json.Serial as string)).size).toBe(1);
    });

    it('believe each other’s tokens, and have one administrator and one root key', async () => {
      const [one, other] = [of(0), of(1)];
      expect((await other.call('GET', '/users/current', { token: one.administrator.token })).status).toBe(200);
      const root = '/.well-known/azaion-statement-root';
      expect((await one.call('GET', root)).json).toEqual((await other.call('GET', root)).json);
      const { json } = await one.call('GET', '/users?searchRole=ApiAdmin', { token: one.administrator.token });
      expect(json.users).toHaveLength(1);
    });

    it('agree on who may log in: what one has counted, the other refuses', async () => {
      const person = await of(0).account('Operator');
      for (let tries = 0; tries < 5; tries += 1)
        expect((await of(0).logIn(person.email, 'not the password')).status).toBe(401);
      expect((await of(1).logIn(person.email, person.password)).status).toBe(429);
    });

    describe('let many change a group and its devices at once', () => {
      const PATH = '/groups/raced';
      const administrator = (): string => of(0).administrator.token;
      let serials: readonly string[];
      beforeAll(async () => {
        const made = await Promise.all(
          [0, 1, 2].map(() => of(0).call('POST', '/devices', { token: administrator(), body: {} })),
        );
        serials = made.map(({ json }) => json.Serial as string);
      });

      it('and hold what the record says, change by change, with no failure', async () => {
        const changes: (() => Promise<Answer>)[] = [];
        const call = (method: string, path: string, body?: object): void => {
          const replica = of(changes.length);
          changes.push(() => replica.call(method, path, { token: administrator(), body }));
        };
        for (let round = 0; round < ROUNDS; round++) {
          // In every order of two, and each from either replica.
          for (const [index, serial] of serials.entries()) {
            call('PUT', `${PATH}/desired`, { resources: [], priority: 10 * round + index });
            call('PUT', `${PATH}/members/${serial}`);
            call('DELETE', `${PATH}/members/${serial}`);
            call('PUT', `${PATH}/members/${serials[(index + 1) % serials.length]!}`);
          }
          if (round % 4 === 0) call('DELETE', PATH);
        }
        call('PUT', `${PATH}/desired`, { resources: [], priority: 1 });
        const statuses = new Set((await Promise.all(changes.map((change) => change()))).map(({ status }) => status));
        // 404: of a group that somebody has just removed.
        expect([...statuses].filter((status) => status !== 204 && status !== 404)).toEqual([]);

        const members = new Set<string>();
        let priority: number | undefined;
        const events = await of(0)
          .infrastructure.database.queries.selectFrom('audit_events')
          .select(['event', 'details'])
          .where('subject', '=', 'raced')
          .orderBy('id')
          .execute();
        for (const { event, details } of events) {
          const serial = String(details['serial']);
          switch (event) {
            case 'group.desired-set':
              priority = Number(details['priority']);
              break;
            case 'group.removed':
              members.clear();
              priority = undefined;
              break;
            case 'group.device-added':
              expect([priority === undefined, members.has(serial)]).toEqual([false, false]);
              members.add(serial);
              break;
            default:
              expect([event, members.delete(serial)]).toEqual(['group.device-removed', true]);
          }
        }
        expect(events.length).toBeGreaterThan(ROUNDS);
        const [group, devices] = await Promise.all([
          of(1).call('GET', `${PATH}/desired`, { token: administrator() }),
          of(0).call('GET', '/devices?group=raced', { token: administrator() }),
        ]);
        expect(group.json?.priority).toBe(priority);
        expect(new Set((devices.json.devices as { serial: string }[]).map(({ serial }) => serial))).toEqual(members);
      });

      it('and lose no change of those who say what they have seen (If-Match)', async () => {
        const path = '/groups/counted/desired';
        const token = administrator();
        await of(0).call('PUT', path, { token, body: { resources: [], priority: 0 } });
        const count = async (replica: StartedApi): Promise<void> => {
          for (let counted = 0; counted < ROUNDS;) {
            const { headers, json } = await replica.call('GET', path, { token });
            const body = { resources: [], priority: (json.priority as number) + 1 };
            const { status } = await replica.call('PUT', path, {
              token,
              body,
              headers: { 'if-match': headers.get('etag') ?? '' },
            });
            expect([204, 412]).toContain(status);
            if (status === 204) counted += 1;
          }
        };
        await Promise.all([count(of(0)), count(of(1)), count(of(0)), count(of(1))]);
        expect((await of(0).call('GET', path, { token })).json.priority).toBe(4 * ROUNDS);
      });
    });
  });
});

function startReplicas(url: string, keys: TempDirectory): Promise<readonly StartedApi[]> {
  const env = { DATABASE_URL: url, ADMIN_KEK_FILE: join(keys.path, 'kek') };
  return Promise.all([startApi(env), startApi(env)]);
}
