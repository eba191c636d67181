/* eslint-disable @typescript-eslint/no-unsafe-assignment, @typescript-eslint/no-unsafe-member-access -- answers are looked into as they come */
import { randomBytes } from 'node:crypto';

import { generateP256KeyPair } from '@azaion/crypto';
import { toBase64Url } from '@azaion/kernel';

import { TestDevice } from '../testing/device.js';
import { DraftUpload } from '../testing/draft-upload.js';
import { type Account, type Answer, type StartedApi, startApi } from '../testing/started-api.js';
import { type StartedReplicas, startReplicas } from '../testing/started-replicas.js';

const NEW_PASSWORD = 'another long password';

describe('changing accounts', () => {
  let api: StartedApi;
  let point: string;
  beforeAll(async () => {
    api = await startApi({ LOGIN_ATTEMPTS_PER_ACCOUNT: '1000' });
    point = toBase64Url((await generateP256KeyPair()).point);
    const upload = await DraftUpload.open(api, api.administrator, 'models/model');
    await upload.commit(upload.draft(await upload.pack(randomBytes(100))));
  });
  afterAll(() => api.stop());

  const change = (method: string, path: string, token = api.administrator.token): Promise<Answer> =>
    api.call(method, `/users/${path}`, { token });
  const setPassword = (body: object, token: string): Promise<Answer> =>
    api.call('PATCH', '/users/password', { token, body });
  const grant = (token: string): Promise<Answer> =>
    api.call('POST', '/sealed/models/model/grants', {
      token,
      body: { recipientPublicKey: point, nonce: toBase64Url(randomBytes(16)) },
    });
  const refresh = (refreshToken: string): Promise<Answer> =>
    api.call('POST', '/token/refresh', { body: { refreshToken } });
  const events = (subject: string): Promise<readonly { event: string; actor: string; details: object }[]> =>
    api.infrastructure.database.queries
      .selectFrom('audit_events')
      .select(['event', 'actor', 'details'])
      .where('subject', '=', subject)
      .where('event', 'like', 'user.%')
      .orderBy('id')
      .execute();
  /** What holds of an account's old tokens after a change. */
  const oldTokens = async (account: Account, refreshToken: string): Promise<readonly number[]> => [
    (await grant(account.token)).status,
    (await api.call('GET', '/users/current', { token: account.token })).status,
    (await refresh(refreshToken)).status,
  ];
  const withRefreshToken = async (account: Account): Promise<[Account, string]> => {
    const { json } = await api.logIn(account.email, account.password);
    return [{ ...account, token: json.access_token as string }, json.refresh_token as string];
  };

  it.each(['email', 'oldPassword'])(
    'refuses null for "%s" of a new password by name, and changes none',
    async (member) => {
      const account = await api.account('Operator');
      const body = { oldPassword: account.password, newPassword: NEW_PASSWORD, [member]: null };
      expect(await setPassword(body, account.token)).toMatchObject({
        status: 400,
        json: { code: 'request.invalid', errors: [{ field: member }] },
      });
      expect((await api.logIn(account.email, account.password)).status).toBe(200);
    },
  );

  it.each(['Validator', '20'])('gives the role %s, ends the sessions, and the next login has it', async (role) => {
    const [account, refreshToken] = await withRefreshToken(await api.account('Operator'));
    expect((await grant(account.token)).status).toBe(201);
    expect((await change('PUT', `${account.email.toUpperCase()}/set-role/${role}`)).status).toBe(204);
    expect(await oldTokens(account, refreshToken)).toEqual([401, 401, 401]);
    const { json } = await api.logIn(account.email, account.password);
    const current = await api.call('GET', '/users/current', { token: json.access_token as string });
    expect(current.json).toMatchObject({ role: 'Validator', roleId: 20 });
    expect((await events(account.id)).at(-1)).toEqual({
      event: 'user.role-changed',
      actor: api.administrator.id,
      details: { from: 'Operator', to: 'Validator' },
    });
  });

  it('keeps the sessions when the role is the one it has', async () => {
    const [account, refreshToken] = await withRefreshToken(await api.account('Operator'));
    expect((await change('PUT', `${account.email}/set-role/Operator`)).status).toBe(204);
    expect(await oldTokens(account, refreshToken)).toEqual([201, 200, 200]);
  });

  it('disables and enables: no login, refresh or grant in between', async () => {
    const [account, refreshToken] = await withRefreshToken(await api.account('Operator'));
    expect((await change('PUT', `${account.email}/disable`)).status).toBe(204);
    expect((await change('PUT', `${account.email}/disable`)).status).toBe(204);
    expect(await oldTokens(account, refreshToken)).toEqual([403, 403, 401]);
    expect((await api.logIn(account.email, account.password)).status).toBe(401);
    expect((await change('PUT', `${account.email}/enable`)).status).toBe(204);
    expect(await oldTokens(account, refreshToken)).toEqual([401, 401, 401]);
    expect((await api.logIn(account.email, account.password)).status).toBe(200);
    expect((await events(account.id)).map(({ event }) => event)).toEqual([
      'user.created',
      'user.disabled',
      'user.enabled',
    ]);
  });

  it('deletes: the address is free again, for another account', async () => {
    const [account, refreshToken] = await withRefreshToken(await api.account('Operator'));
    expect((await change('DELETE', account.email)).status).toBe(204);
    expect(await oldTokens(account, refreshToken)).toEqual([403, 403, 401]);
    expect((await change('DELETE', account.email)).status).toBe(404);
    const again = await api.call('POST', '/users', {
      token: api.administrator.token,
      body: { email: account.email, password: NEW_PASSWORD, role: 'Operator' },
    });
    expect(again.status).toBe(201);
    expect(again.json.id).not.toBe(account.id);
    expect(await oldTokens(account, refreshToken)).toEqual([403, 403, 401]);
  });

  it.each([
    ['PUT', 'nobody@example.com/set-role/Operator', 404, 'user.not-found'],
    ['PUT', 'nobody@example.com/enable', 404, 'user.not-found'],
    ['PUT', 'nobody@example.com/disable', 404, 'user.not-found'],
    ['DELETE', 'nobody@example.com', 404, 'user.not-found'],
    ['PUT', 'root@example.com/set-role/Emperor', 400, 'request.invalid'],
    ['PUT', 'root@example.com/set-role/1001', 400, 'request.invalid'],
    ['PUT', `${'x'.repeat(321)}/enable`, 400, 'request.invalid'],
    ['DELETE', '%00', 400, 'request.invalid'],
  ])('%s /users/%s is %i %s', async (method, path, status, code) => {
    const answer = await change(method, path);
    expect({ status: answer.status, code: answer.json.code }).toEqual({ status, code });
  });

  it('is for ApiAdmin alone', async () => {
    const { token } = await api.account('Admin');
    for (const [method, path] of [
      ['PUT', 'root@example.com/set-role/Operator'],
      ['PUT', 'root@example.com/enable'],
      ['PUT', 'root@example.com/disable'],
      ['DELETE', 'root@example.com'],
    ] as const)
      expect((await change(method, path, token)).json.code).toBe('role.forbidden');
  });

  it('gives a disabled administrator no way back with the token it still holds', async () => {
    const rogue = await api.account('ApiAdmin');
    await change('PUT', `${rogue.email}/disable`);
    expect((await change('PUT', `${rogue.email}/enable`, rogue.token)).json.code).toBe('user.disabled');
    expect(
      (await api.call('POST', '/users', { token: rogue.token, body: { email: 'x@y.example', password: NEW_PASSWORD } }))
        .status,
    ).toBe(403);
  });

  describe('of a device', () => {
    let device: TestDevice;
    beforeAll(async () => (device = await TestDevice.enrolled(api)));

    it.each([
      ['PUT', 'set-role/ApiAdmin'],
      ['DELETE', ''],
    ])('%s %s is refused: its account follows the device', async (method, path) => {
      const { status, json } = await change(method, `${device.email}${path === '' ? '' : `/${path}`}`);
      expect({ status, code: json.code }).toEqual({ status: 409, code: 'user.of-device' });
    });

    it('a password is refused too, by itself and by an administrator', async () => {
      const body = { email: device.email, newPassword: NEW_PASSWORD };
      expect((await setPassword(body, api.administrator.token)).json.code).toBe('user.of-device');
      const own = await setPassword({ oldPassword: device.password, newPassword: NEW_PASSWORD }, await device.token());
      expect(own.json.code).toBe('login.wrong-credentials'); // an enrolled device's password opens nothing
    });

    it('disabling it ends its grants at once', async () => {
      const token = await device.token();
      expect((await change('PUT', `${device.email}/disable`)).status).toBe(204);
      expect((await api.call('GET', '/sealed/models', { token })).json.code).toBe('user.disabled');
      expect((await device.logIn(await device.assertion())).json.code).toBe('device.revoked');
      await change('PUT', `${device.email}/enable`);
      expect((await api.call('GET', '/sealed/models', { token: await device.token() })).status).toBe(200);
    });
  });

  describe('passwords', () => {
    it('are changed by their holder with the old one; all sessions end', async () => {
      const [account, refreshToken] = await withRefreshToken(await api.account('Operator'));
      const body = { oldPassword: account.password, newPassword: NEW_PASSWORD };
      expect((await setPassword(body, account.token)).status).toBe(204);
      expect(await oldTokens(account, refreshToken)).toEqual([401, 401, 401]);
      expect((await api.logIn(account.email, account.password)).status).toBe(401);
      expect((await api.logIn(account.email, NEW_PASSWORD)).status).toBe(200);
    });

    it('are set by an administrator without the old one', async () => {
      const [account, refreshToken] = await withRefreshToken(await api.account('Operator'));
      const body = { email: account.email, newPassword: NEW_PASSWORD };
      expect((await setPassword(body, api.administrator.token)).status).toBe(204);
      expect(await oldTokens(account, refreshToken)).toEqual([401, 401, 401]);
      expect((await api.logIn(account.email, NEW_PASSWORD)).status).toBe(200);
      expect((await events(account.id)).at(-1)).toMatchObject({
        event: 'user.password-changed',
        actor: api.administrator.id,
      });
    });

    it.each([
      ['a wrong old one', { oldPassword: 'a wrong password', newPassword: NEW_PASSWORD }, 401, undefined],
      ['no old one', { newPassword: NEW_PASSWORD }, 400, undefined],
      ['no new one', { oldPassword: 'x' }, 400, undefined],
      ['a short new one', { oldPassword: 'x', newPassword: '12345678901' }, 400, 32],
      ['a hardware field', { oldPassword: 'x', newPassword: NEW_PASSWORD, hardware: 'x' }, 400, undefined],
      ['another’s address', { email: 'root@example.com', newPassword: NEW_PASSWORD }, 403, undefined],
    ])('stay as they are with %s', async (_case, body, status, number) => {
      const account = await api.account('Operator');
      const answer = await setPassword(body, account.token);
      expect({ status: answer.status, number: answer.json.ErrorCode }).toEqual({ status, number });
      expect((await api.logIn(account.email, account.password)).status).toBe(200);
    });

    it('of an administrator’s own account need the old one too, also when it names itself', async () => {
      const account = await api.account('ApiAdmin');
      const body = { email: account.email.toUpperCase(), newPassword: NEW_PASSWORD };
      expect((await setPassword(body, account.token)).status).toBe(400);
    });

    it('change once when two change them at the same moment', async () => {
      const account = await api.account('Operator');
      const answers = await Promise.all(
        ['first new password', 'second new password'].map((newPassword) =>
          setPassword({ oldPassword: account.password, newPassword }, account.token),
        ),
      );
      expect(answers.map(({ status }) => status).sort()).toEqual([204, 401]);
    });
  });
});

describe('the last administrator', () => {
  let replicas: StartedReplicas;
  beforeAll(async () => {
    replicas = await startReplicas();
  });
  afterAll(() => replicas.stop());

  it.each([
    ['PUT', '/disable'],
    ['PUT', '/set-role/Operator'],
    ['DELETE', ''],
  ])('can’t be taken away by %s %s', async (method, path) => {
    const { one } = replicas;
    const { status, json } = await one.call(method, `/users/root@example.com${path}`, {
      token: one.administrator.token,
    });
    expect({ status, code: json.code }).toEqual({ status: 409, code: 'user.last-administrator' });
  });

  it('stays when several administrators take each other away at once, through two replicas', async () => {
    const { one, other } = replicas;
    const others = [await one.account('ApiAdmin'), await one.account('ApiAdmin'), await other.account('ApiAdmin')];
    const emails = [one.administrator.email, ...others.map(({ email }) => email)];
    const removals = emails.map((email, index) => {
      const replica = index % 2 === 0 ? one : other;
      const actor = [one.administrator, ...others][(index + 1) % emails.length]!;
      return index < 2
        ? replica.call('PUT', `/users/${email}/disable`, { token: actor.token })
        : replica.call('DELETE', `/users/${email}`, { token: actor.token });
    });
    await Promise.all(removals);
    const left = await one.infrastructure.database.queries
      .selectFrom('users')
      .select('email')
      .where('role', '=', 'ApiAdmin')
      .where('is_enabled', '=', true)
      .execute();
    expect(left.length).toBeGreaterThanOrEqual(1);
  });
});
