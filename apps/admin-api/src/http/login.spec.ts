/* eslint-disable @typescript-eslint/no-unsafe-argument, @typescript-eslint/no-unsafe-assignment, @typescript-eslint/no-unsafe-call, @typescript-eslint/no-unsafe-member-access, @typescript-eslint/no-unsafe-return -- answers are looked into as they come */
import { createHash } from 'node:crypto';

import { Secret } from '@azaion/kernel';
import { undeclaredRoutes } from '@azaion/nest-support';

import { TestDevice } from '../testing/device.js';
import { type Account, type StartedApi, startApi } from '../testing/started-api.js';
import { PasswordCosts } from '../tokens/password-costs.js';
import { PasswordHasher } from '../tokens/password-hasher.js';

const OTHER_COST = { memoryKib: 20_480, passes: 2 };

describe('the Admin API over HTTP', () => {
  let api: StartedApi;
  let operator: Account;
  beforeAll(async () => {
    api = await startApi();
    operator = await api.account('Operator');
  });
  afterAll(() => api.stop());

  it('declares a rule for every route', () => {
    expect(undeclaredRoutes(api.app)).toEqual([]);
  });

  describe('POST /login', () => {
    it('gives tokens that older clients understand too', async () => {
      const { status, json, headers } = await api.logIn(operator.email.toUpperCase(), operator.password);
      expect(status).toBe(200);
      expect(json).toMatchObject({ token: json.access_token, token_type: 'Bearer', expires_in: 900 });
      expect(headers.get('cache-control')).toBe('no-store');
      const claims = JSON.parse(Buffer.from(json.access_token.split('.')[1], 'base64url').toString());
      expect(claims).toMatchObject({
        iss: 'azaion-admin-api',
        aud: 'azaion',
        sub: operator.id,
        nameid: operator.id,
        unique_name: operator.email,
        role: 'Operator',
      });
    });

    it('answers unknown, wrong and disabled alike', async () => {
      const disabled = await api.account('Operator');
      await api.infrastructure.database.queries
        .updateTable('users')
        .set({ is_enabled: false })
        .where('id', '=', disabled.id)
        .execute();
      const answers = [
        await api.logIn('nobody@example.com', 'some password'),
        await api.logIn(operator.email, 'some password'),
        await api.logIn(operator.email, ''),
        await api.logIn(disabled.email, disabled.password),
      ];
      const shapes = answers.map(({ status, json }) => ({ status, ...json, requestId: '' }));
      expect(shapes[0]).toMatchObject({ status: 401, code: 'login.wrong-credentials' });
      for (const shape of shapes) expect(shape).toEqual(shapes[0]);
    });

    it('costs one Argon2id computation whatever is wrong, and as many as a good one', async () => {
      const hasher = api.app.get(PasswordHasher);
      const { queries } = api.infrastructure.database;
      const [older, disabled, locked] = [
        await api.account('Operator'),
        await api.account('Operator'),
        await api.account('Operator'),
      ];
      const device = await TestDevice.register(api);
      const enrolled = await TestDevice.enrolled(api);
      await queries.updateTable('users').set({ is_enabled: false }).where('id', '=', disabled.id).execute();
      await queries
        .updateTable('users')
        .set({ password_hash: createHash('sha384').update('an older password').digest('base64') })
        .where('id', '=', older.id)
        .execute();
      await queries
        .insertInto('rate_limits')
        .values({
          key: `failures ${createHash('sha256').update(locked.email).digest('hex').slice(0, 32)} 127.0.0.1`,
          count: 10,
          resets_at: new Date(Date.now() + 900_000),
        })
        .execute();
      const costs: Record<string, [status: number, computations: number]> = {};
      for (const [name, email, password] of [
        ['good', operator.email, operator.password],
        ['unknown', 'nobody@example.com', 'some password'],
        ['wrong', operator.email, 'some password'],
        ['empty', operator.email, ''],
        ['disabled', disabled.email, disabled.password],
        ['disabled and wrong', disabled.email, 'some password'],
        ['locked', locked.email, locked.password],
        ['older hash, wrong', older.email, 'some password'],
        ['device, wrong', device.email, 'some password'],
        ['enrolled device', enrolled.email, enrolled.password],
      ] as const) {
        const before = hasher.computations;
        const { status } = await api.logIn(email, password);
        costs[name] = [status, hasher.computations - before];
      }
      const { good, ...bad } = costs;
      expect(good).toEqual([200, 1]);
      for (const [name, cost] of Object.entries(bad)) expect([name, ...cost]).toEqual([name, 401, 1]);
    });

    it('still all cost the same when some passwords were stored at another cost', async () => {
      const hasher = api.app.get(PasswordHasher);
      const costs = api.app.get(PasswordCosts);
      const older = await api.account('Operator');
      const stored = await new PasswordHasher({ get: () => Promise.reject(new Error('unused')) }, OTHER_COST).hash(
        new Secret(older.password),
      );
      const store = (hash: string): Promise<unknown> =>
        api.infrastructure.database.queries
          .updateTable('users')
          .set({ password_hash: hash })
          .where('id', '=', older.id)
          .execute();
      await store(stored);
      await costs.learn();
      for (const [email, password, status] of [
        [older.email, older.password, 200],
        [older.email, 'some password', 401],
        [operator.email, operator.password, 200],
        [operator.email, 'some password', 401],
        ['nobody@example.com', 'some password', 401],
      ] as const) {
        const before = hasher.computations;
        expect([email, (await api.logIn(email, password)).status]).toEqual([email, status]);
        expect([email, hasher.computations - before]).toEqual([email, 2]);
      }
      await store('');
      await costs.learn();
      const before = hasher.computations;
      await api.logIn('nobody@example.com', 'some password');
      expect(hasher.computations - before).toBe(1);
    });

    it.each([
      [{}],
      [{ email: 'a@example.com' }],
      [{ email: 'a@example.com', password: 1 }],
      [{ email: 'a@example.com', password: 'x', hardware: 'CPU: …' }],
      [[]],
      ['null'],
      ['{"email":'],
    ])('refuses the body %j with 400', async (body) => {
      const { status, json } = await api.call('POST', '/login', { body });
      expect(status).toBe(400);
      expect(json.type).toBe('about:blank');
    });

    it.each([
      ['POST', '/login', { email: 'a\0@example.com', password: 'x' }, 'email'],
      ['POST', '/users', { email: 'a\0@example.com', password: 'a long password', role: 'Operator' }, 'email'],
      ['GET', '/users?cursor=%00', undefined, 'cursor'],
      ['GET', '/users?searchEmail=%00', undefined, 'searchEmail'],
      ['GET', '/devices?cursor=%00', undefined, 'cursor'],
    ])('U+0000 is refused by %s %s', async (method, path, body, field) => {
      const { status, json } = await api.call(method, path, { token: api.administrator.token, body });
      expect({ status, field: json.errors[0].field }).toEqual({ status: 400, field });
    });

    it('takes no address from a header where no proxy is trusted', async () => {
      const { email, id } = await api.account('Operator');
      const headers = { 'x-forwarded-for': '192.0.2.99' };
      expect((await api.call('POST', '/login', { body: { email, password: 'a guess' }, headers })).status).toBe(401);
      const { address } = await api.infrastructure.database.queries
        .selectFrom('audit_events')
        .select('address')
        .where('actor', '=', id)
        .where('event', '=', 'login.failed')
        .executeTakeFirstOrThrow();
      expect(address).toBe('127.0.0.1');
    });

    it('names the unknown field', async () => {
      const body = { email: 'a@example.com', password: 'x', hardware: 'CPU: …' };
      const { json } = await api.call('POST', '/login', { body });
      expect(json.errors).toEqual([{ field: 'hardware', messages: ['is not known here'] }]);
    });

    it('writes last_login', async () => {
      await api.infrastructure.database.queries
        .updateTable('users')
        .set({ last_login: null })
        .where('id', '=', operator.id)
        .execute();
      const lastLogin = async () =>
        (await api.call('GET', '/users/current', { token: operator.token })).json.lastLogin as string | undefined;
      await api.logIn(operator.email, 'a wrong password');
      expect(await lastLogin()).toBeUndefined();
      await api.logIn(operator.email, operator.password);
      expect(Date.parse((await lastLogin()) ?? '')).toBeGreaterThan(0);
    });

    it('takes an older installation’s SHA-384 once and replaces it', async () => {
      const older = await api.account('Operator');
      const users = api.infrastructure.database.queries;
      await users
        .updateTable('users')
        .set({ password_hash: createHash('sha384').update('an older password').digest('base64') })
        .where('id', '=', older.id)
        .execute();
      expect((await api.logIn(older.email, 'another password')).status).toBe(401);
      expect((await api.logIn(older.email, 'an older password')).status).toBe(200);
      const row = await users.selectFrom('users').select('password_hash').where('id', '=', older.id).executeTakeFirst();
      expect(row?.password_hash).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$/);
      expect((await api.logIn(older.email, 'an older password')).status).toBe(200);
    });

    it('stops guessing at one account after five attempts, and says when to come back', async () => {
      const victim = await api.account('Operator');
      for (let attempt = 0; attempt < 5; attempt++) expect((await api.logIn(victim.email, 'guess')).status).toBe(401);
      const { status, headers } = await api.logIn(victim.email, victim.password);
      expect(status).toBe(429);
      expect(Number(headers.get('retry-after'))).toBeGreaterThan(200);
      expect((await api.logIn(operator.email, operator.password)).status).toBe(200);
    });
  });

  describe('tokens', () => {
    it('are refreshed once each; a reuse ends the session', async () => {
      const refresh = (token: string) => api.call('POST', '/token/refresh', { body: { refreshToken: token } });
      const first = (await api.logIn(operator.email, operator.password)).json.refresh_token as string;
      const second = await refresh(first);
      expect(second.status).toBe(200);
      expect((await api.call('GET', '/users/current', { token: second.json.access_token })).status).toBe(200);
      expect((await refresh(first)).status).toBe(401);
      expect((await refresh(second.json.refresh_token as string)).status).toBe(401); // the thief's or the owner's: both end
    });

    it('can’t be refreshed after a logout', async () => {
      const { json } = await api.logIn(operator.email, operator.password);
      expect((await api.call('POST', '/logout', { token: json.access_token })).status).toBe(204);
      const refreshed = await api.call('POST', '/token/refresh', { body: { refreshToken: json.refresh_token } });
      expect(refreshed.status).toBe(401);
    });

    it.each([undefined, '', 'x', 'a.b.c'])('are needed: %j is refused', async (token) => {
      const { status, headers } = await api.call('GET', '/users/current', { token });
      expect(status).toBe(401);
      expect(headers.get('www-authenticate')).toMatch(/^Bearer/);
    });

    it('are refused without a signature, or with one by another key', async () => {
      const [header = '', claims = '', signature = ''] = operator.token.split('.');
      const none = Buffer.from(JSON.stringify({ alg: 'none', typ: 'at+jwt' })).toString('base64url');
      const forged = Buffer.from(
        JSON.stringify({ ...JSON.parse(Buffer.from(claims, 'base64url').toString()), role: 'ApiAdmin' }),
      ).toString('base64url');
      for (const token of [`${none}.${claims}.`, `${header}.${forged}.${signature}`, `${header}.${claims}.`])
        expect((await api.call('GET', '/users/current', { token })).status).toBe(401);
    });
  });

  describe('roles', () => {
    it.each([
      ['POST', '/users'],
      ['GET', '/users'],
      ['POST', '/devices'],
      ['GET', '/devices'],
      ['GET', '/devices/azj-0000'],
      ['POST', '/devices/azj-0000/revoke'],
      ['POST', '/devices/azj-0000/reset'],
    ])('%s %s is not for an Operator', async (method, path) => {
      const { status, json } = await api.call(method, path, {
        token: operator.token,
        ...(method === 'POST' ? { body: {} } : {}),
      });
      expect(status).toBe(403);
      expect(json.code).toBe('role.forbidden');
    });

    it('None may not even ask who it is', async () => {
      const none = await api.account('None');
      expect((await api.call('GET', '/users/current', { token: none.token })).status).toBe(403);
    });
  });

  describe('POST /users', () => {
    const create = (body: object) => api.call('POST', '/users', { token: api.administrator.token, body });

    it('takes a role by name or number and returns both', async () => {
      const byNumber = await create({ email: 'number@example.com', password: 'a long password', role: 50 });
      expect(byNumber.status).toBe(201);
      expect(byNumber.json).toMatchObject({ role: 'ResourceUploader', roleId: 50, isEnabled: true });
      expect(byNumber.text).not.toMatch(/argon2|hash/);
    });

    it.each([
      [{ email: 'a@b.co', password: 'a long password' }, 35],
      [{ email: 'no-address-at-all', password: 'a long password' }, 37],
      [{ email: 'short@example.com', password: '12345678901' }, 32],
    ])('refuses %j with ErrorCode %i', async (user, number) => {
      const { status, json } = await create({ ...user, role: 'Operator' });
      expect(status).toBe(400);
      expect(json).toMatchObject({ ErrorCode: number, Message: json.detail });
    });

    it('lets one of many at once have an address', async () => {
      const bodies = Array.from({ length: 8 }, (_, index) => ({
        email: index % 2 === 0 ? 'race@example.com' : 'Race@Example.com',
        password: 'a long password',
        role: 'Operator',
      }));
      const answers = await Promise.all(bodies.map(create));
      expect(answers.map(({ status }) => status).sort()).toEqual([201, ...Array.from({ length: 7 }, () => 409)]);
      expect(answers.find(({ status }) => status === 409)?.json).toMatchObject({ ErrorCode: 20, code: 'user.exists' });
    });
  });

  it('lists users page by page, never with a hash', async () => {
    const token = api.administrator.token;
    const first = await api.call('GET', '/users?limit=2', { token });
    expect(first.json.users).toHaveLength(2);
    expect(first.text).not.toMatch(/argon2|hash/i);
    const second = await api.call('GET', `/users?limit=2&cursor=${encodeURIComponent(first.json.cursor)}`, { token });
    expect(second.json.users[0].email > first.json.users[1].email).toBe(true);
    const found = await api.call('GET', `/users?searchEmail=ROOT%40&searchRole=1000`, { token });
    expect(found.json.users.map((user: { email: string }) => user.email)).toEqual(['root@example.com']);
  });

  it('finds the accounts of an older installation by role, which may hold its number', async () => {
    await api.infrastructure.database.queries
      .insertInto('users')
      .values({
        id: '7a0f8a52-52b5-4d5c-8f1b-0d2a30a6b9f1',
        email: 'adopted@example.com',
        password_hash: '',
        role: '60',
        created_at: new Date(),
        is_enabled: true,
      })
      .execute();
    const { json } = await api.call('GET', '/users?searchRole=Service', { token: api.administrator.token });
    expect(json.users).toEqual([
      expect.objectContaining({ email: 'adopted@example.com', role: 'Service', roleId: 60 }),
    ]);
  });

  describe('retired addresses', () => {
    const bodies: [string, string | Uint8Array | undefined, string][] = [
      ['no body', undefined, 'application/json'],
      ['a good body', '{"hardware":"x"}', 'application/json'],
      ['a malformed body', '{', 'application/json'],
      ['2 MB', `"${'x'.repeat(2_000_000)}"`, 'application/json'],
      ['another type', '<a/>', 'application/xml'],
    ];
    it.each([
      ['PUT', '/users/hardware/set'],
      ['POST', '/resources/check'],
    ])('%s %s is 404 whatever is sent', async (method, path) => {
      for (const token of [undefined, operator.token, 'bad'])
        for (const [, body, type] of bodies) {
          const { status, headers, json } = await api.call(method, path, {
            token,
            body,
            headers: body === undefined ? {} : { 'content-type': type },
          });
          expect(status).toBe(404);
          expect(headers.get('content-type')).toContain('application/problem+json');
          expect(json.code).toBe('route.not-found');
        }
    });
  });

  it('describes every operation with a summary and its error answers', async () => {
    const { json } = await api.call('GET', '/docs/json');
    for (const [path, operations] of Object.entries(
      json.paths as Record<string, Record<string, { summary?: string; responses: object }>>,
    ))
      for (const [method, operation] of Object.entries(operations)) {
        if (path.startsWith('/health') || path === '/metrics') continue;
        expect({ path, method, summary: operation.summary }).toEqual({
          path,
          method,
          summary: expect.stringMatching(/\w/),
        });
        const refusals = Object.keys(operation.responses).filter((status) => status.startsWith('4'));
        expect({ path, method, refusals: refusals.length > 0 || path.startsWith('/.well-known') }).toEqual({
          path,
          method,
          refusals: true,
        });
      }
    expect((await api.call('GET', '/docs')).status).toBe(200);
  });

  it.each([
    ['POST', '/logout'],
    ['POST', '/logout/all'],
    ['POST', '/devices/azj-0000/revoke'],
    ['POST', '/devices/azj-0000/reset'],
    ['PUT', '/sealed/uploads/0b6f2c5e-3f3f-4c53-9a5e-2f8f7a3d1c11/heartbeat'],
    ['DELETE', '/sealed/uploads/0b6f2c5e-3f3f-4c53-9a5e-2f8f7a3d1c11'],
  ])('%s %s refuses a body with members', async (method, path) => {
    const { status, json } = await api.call(method, path, { token: api.administrator.token, body: { hardware: 'x' } });
    expect({ status, errors: json.errors }).toEqual({
      status: 400,
      errors: [{ field: 'hardware', messages: ['is not known here'] }],
    });
  });

  it('describes answers with their members, and the carrier’s header', async () => {
    const { json } = await api.call('GET', '/docs/json');
    expect(json.paths['/sealed/{folder}'].get.responses['200'].content['application/json'].schema.$ref).toMatch(
      /Folder/,
    );
    expect(json.paths['/sealed/{folder}/{name}'].get.responses['200'].content).toBeDefined();
    const names = json.paths['/sealed/{folder}/{name}/grants'].post.parameters.map(
      ({ name }: { name: string }) => name,
    );
    expect(names).toContain('Azaion-Device');
    expect(JSON.stringify(json.components.schemas.ProgressAnswer)).toContain('ProgressPackAnswer');
  });

  it('publishes its token keys', async () => {
    const { json, headers } = await api.call('GET', '/.well-known/jwks.json');
    expect(json.keys).toHaveLength(1);
    expect(Object.keys(json.keys[0] as object).sort()).toEqual(['alg', 'crv', 'kid', 'kty', 'use', 'x', 'y']);
    expect(headers.get('cache-control')).toBe('public, max-age=300');
  });
});

describe('failed logins where older clients are to be told apart (LEGACY_LOGIN_ERRORS)', () => {
  let api: StartedApi;
  let operator: Account;
  beforeAll(async () => {
    api = await startApi({ LEGACY_LOGIN_ERRORS: 'true' });
    operator = await api.account('Operator');
  });
  afterAll(() => api.stop());

  it('are 409 with 10 (unknown), 30 (wrong) or 38 (disabled), the last to who knows the password only', async () => {
    const answers = [await api.logIn('nobody@example.com', 'x'), await api.logIn(operator.email, 'x')];
    await api.call('PUT', `/users/${operator.email}/disable`, { token: api.administrator.token });
    answers.push(await api.logIn(operator.email, operator.password), await api.logIn(operator.email, 'x'));
    expect(answers.map(({ status, json }) => [status, json.ErrorCode, json.Message === json.detail])).toEqual([
      [409, 10, true],
      [409, 30, true],
      [409, 38, true],
      [409, 30, true],
    ]);
  });

  it('still cost one computation each', async () => {
    const hasher = api.app.get(PasswordHasher);
    for (const email of ['nobody@example.com', operator.email]) {
      const before = hasher.computations;
      await api.logIn(email, 'x');
      expect(hasher.computations - before).toBe(1);
    }
  });

  it('never use 40 and 45', async () => {
    const { BUSINESS_ERROR_NUMBERS } = await import('../errors.js');
    expect(Object.values(BUSINESS_ERROR_NUMBERS)).not.toEqual(expect.arrayContaining([40]));
    expect(Object.values(BUSINESS_ERROR_NUMBERS)).not.toEqual(expect.arrayContaining([45]));
  });
});
