/* eslint-disable @typescript-eslint/no-unsafe-assignment, @typescript-eslint/no-unsafe-member-access -- answers are looked into as they come */
import { join } from 'node:path';

import { describeWith, type PostgresServer, startPostgres, type TempDirectory, tempDirectory } from '@azaion/testing';
import { sql } from 'kysely';

import { TestDevice } from '../testing/device.js';
import { makeOlderUsers, type OlderAccount } from '../testing/older-installation.js';
import { ADMINISTRATOR, type Answer, type StartedApi, startApi } from '../testing/started-api.js';
import { Database } from './database.js';

const LAST_LOGIN = new Date('2024-05-06T07:08:09.123Z');
const ACCOUNTS = {
  administrator: { ...ADMINISTRATOR, role: '1000' },
  operator: {
    email: 'Mixed.Case@Example.com',
    password: 'a password of then',
    role: 'Operator',
    lastLogin: LAST_LOGIN,
  },
  disabled: { email: 'gone@example.com', password: 'a password of then', role: 'Operator', enabled: false },
  device: { email: 'AZJ-0001@azaion.com', password: 'a device of then', role: 'CompanionPC' },
  numbered: { email: 'azj-0002@azaion.com', password: 'a device of then', role: '30' },
  sleeping: { email: 'azj-0003@azaion.com', password: 'a device of then', role: 'CompanionPC', enabled: false },
  person: { email: 'azj-0004@azaion.com', password: 'no device', role: 'Operator' },
} satisfies Record<string, OlderAccount>;

/** As docs/how-to/move-from-the-older-system.md describes it: a dump of the older database, restored for the new service. */
describeWith('postgresql', 'an older system’s database', () => {
  let postgres: PostgresServer;
  let directory: TempDirectory;
  let api: StartedApi;
  let administrator: string;
  const ids: Record<string, string> = {};

  const envOf = (database: string): Record<string, string> => ({
    DATABASE_URL: postgres.url(database),
    ADMIN_DATA_DIR: join(directory.path, database),
    LEGACY_LOGIN_ERRORS: 'true', // older clients are told apart
  });
  const restored = async (database: string): Promise<Record<string, string>> => {
    await postgres.client('createdb', [database]);
    await postgres.client('pg_restore', [
      '--exit-on-error',
      '--no-owner',
      '-d',
      database,
      join(directory.path, 'dump'),
    ]);
    return envOf(database);
  };
  const asOwner = async <T>(database: string, work: (on: Database['queries']) => Promise<T>): Promise<T> => {
    const owner = new Database({ connectionString: postgres.url(database) });
    try {
      return await work(owner.queries);
    } finally {
      await owner.close();
    }
  };
  const register = (serial?: string): Promise<Answer> =>
    api.call('POST', '/devices', { token: administrator, body: serial === undefined ? {} : { serial } });
  const row = (id: string | undefined) =>
    api.infrastructure.database.queries
      .selectFrom('users')
      .selectAll()
      .where('id', '=', id ?? '')
      .executeTakeFirstOrThrow();

  beforeAll(async () => {
    [postgres, directory] = await Promise.all([startPostgres(), tempDirectory()]);
    await postgres.client('createdb', ['older']);
    const made = await asOwner('older', (on) => makeOlderUsers(on, Object.values(ACCOUNTS)));
    Object.keys(ACCOUNTS).forEach((name, index) => (ids[name] = made[index] ?? ''));
    await postgres.client('pg_dump', ['--format=custom', '-f', join(directory.path, 'dump'), 'older']);
    api = await startApi(await restored('adopted'));
    administrator = api.administrator.token;
  });
  afterAll(async () => {
    await api.stop();
    await postgres.stop();
    await directory.remove();
  });

  it('is taken with its administrator, whose role is a number, and none is made beside', async () => {
    expect(api.administrator.id).toBe(ids['administrator']);
    const { json } = await api.call('GET', '/users?searchRole=ApiAdmin', { token: administrator });
    expect((json.users as { id: string; roleId: number }[]).map(({ id, roleId }) => [id, roleId])).toEqual([
      [ids['administrator'], 1000],
    ]);
    const last = await api.call('PUT', '/users/root@example.com/disable', { token: administrator });
    expect(last.json.code).toBe('user.last-administrator');
  });

  it('keeps addresses as they are written; they are found in any case', async () => {
    const { email, password } = ACCOUNTS.operator;
    for (const typed of [email, email.toLowerCase(), email.toUpperCase()]) {
      const { status, json } = await api.logIn(typed, password);
      expect(status).toBe(200);
      const current = await api.call('GET', '/users/current', { token: json.access_token as string });
      expect(current.json).toMatchObject({ id: ids['operator'], email, role: 'Operator' });
    }
    const twice = { email: email.toLowerCase(), password: 'a long password', role: 'Operator' };
    expect((await api.call('POST', '/users', { token: administrator, body: twice })).json.ErrorCode).toBe(20);
  });

  it('keeps passwords until their first use, which stores them anew, and last logins until the next', async () => {
    const fresh = await startApi(await restored('untouched'));
    try {
      const before = await asOwner('untouched', (on) =>
        on.selectFrom('users').selectAll().where('email', '=', ACCOUNTS.operator.email).executeTakeFirstOrThrow(),
      );
      expect(before).toMatchObject({ hardware: 'CPU: …', hardware_hash: 'a hash', last_login: LAST_LOGIN });
      expect(before.password_hash).toMatch(/^[A-Za-z0-9+/]{64}$/);
    } finally {
      await fresh.stop();
    }
    const after = await row(ids['operator']);
    expect(after).toMatchObject({ hardware: 'CPU: …', hardware_hash: 'a hash' });
    expect(after.password_hash).toMatch(/^\$argon2id\$/);
    expect(after.last_login?.getTime()).toBeGreaterThan(LAST_LOGIN.getTime());
  });

  it('keeps disabled accounts out', async () => {
    const { email, password } = ACCOUNTS.disabled;
    expect((await api.logIn(email, password)).json.ErrorCode).toBe(38);
    expect((await api.logIn(email, 'a guess')).json.ErrorCode).toBe(30);
  });

  it('has no lengths that are shorter than what is accepted', async () => {
    const email = `${'x'.repeat(64)}@${'y'.repeat(240)}.example`;
    const body = { email, password: 'a long password', role: 'Operator' };
    expect((await api.call('POST', '/users', { token: administrator, body })).status).toBe(201);
  });

  it.each([
    ['device', 'azj-0001'],
    ['numbered', 'azj-0002'],
  ] as const)('gives the account of a device (%s) to the device, with a fresh password', async (name, serial) => {
    const { email, password } = ACCOUNTS[name];
    const session = (await api.logIn(email, password)).json;
    const { status, json } = await register(serial);
    expect({ status, ...json }).toEqual({ status: 201, Serial: serial, Email: email, Password: expect.any(String) });
    expect((await api.logIn(email, password)).json.ErrorCode).toBe(30);
    const refreshed = await api.call('POST', '/token/refresh', { body: { refreshToken: session.refresh_token } });
    expect(refreshed.status).toBe(401);
    const device = await TestDevice.of(api, json as Parameters<typeof TestDevice.of>[1]);
    expect((await device.enrol(await device.enrolment())).status).toBe(204);
    const claims = (await device.token()).split('.')[1] ?? '';
    expect(JSON.parse(Buffer.from(claims, 'base64url').toString())).toMatchObject({ sub: ids[name], device: serial });
    const { json: log } = await api.call('GET', `/audit?subject=${serial}&event=device.registered`, {
      token: administrator,
    });
    expect(log.events[0].details).toEqual({ adoptedAccount: ids[name] });
    expect((await register(serial)).json.code).toBe('device.exists');
  });

  it.each([
    ['disabled', 'azj-0003', /disabled: enable it/],
    ['a person’s', 'azj-0004', /There is a device or an account/],
  ])('gives no device an account that is %s', async (_case, serial, told) => {
    const { status, json } = await register(serial);
    expect({ status, code: json.code }).toEqual({ status: 409, code: 'device.exists' });
    expect(json.detail).toMatch(told);
  });

  it('gives no number again that an account of then has', async () => {
    expect((await register()).json.Serial).toBe('azj-0000');
    expect((await register()).json.Serial).toBe('azj-0005');
  });

  it('is refused with addresses that differ in case only: they are named, and nothing is changed', async () => {
    const env = await restored('twofold');
    const tables = (): Promise<string> => postgres.client('psql', ['twofold', '-Atc', '\\dt']);
    const before = await asOwner('twofold', async (on) => {
      await sql`insert into users (id, email, password_hash, role)
        values (gen_random_uuid(), 'ROOT@example.com', 'x', 'Operator')`.execute(on);
      return tables();
    });
    await expect(startApi(env)).rejects.toThrow(/ROOT@example\.com and root@example\.com.*Rename or delete/);
    expect(await tables()).toBe(before);
  });

  it('is refused where the login does not own it, with what to grant', async () => {
    const env = await restored('foreign');
    await postgres.client('psql', ['foreign', '-c', `create role spec_stranger login password 'spec' createrole`]);
    await postgres.client('psql', ['foreign', '-c', 'grant all on schema public to spec_stranger']);
    await postgres.client('psql', ['foreign', '-c', 'grant all on users to spec_stranger']);
    const url = postgres.url('foreign').replace(/\/\/[^@]*@/, '//spec_stranger:spec@');
    await expect(startApi({ ...env, DATABASE_URL: url })).rejects.toThrow(
      /\(42501: the login of DATABASE_MIGRATION_URL.*must own every table/,
    );
  });
});
