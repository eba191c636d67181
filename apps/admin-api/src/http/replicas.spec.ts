/* eslint-disable @typescript-eslint/no-unsafe-assignment, @typescript-eslint/no-unsafe-member-access -- answers are looked into as they come */
import { join } from 'node:path';

import { describeWith, type PostgresServer, startPostgres, type TempDirectory, tempDirectory } from '@azaion/testing';

import { Database } from '../persistence/database.js';
import { type StartedApi, startApi } from '../testing/started-api.js';

const DEVICES = 100;

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
  });
});

function startReplicas(url: string, keys: TempDirectory): Promise<readonly StartedApi[]> {
  const env = { DATABASE_URL: url, ADMIN_KEK_FILE: join(keys.path, 'kek') };
  return Promise.all([startApi(env), startApi(env)]);
}
