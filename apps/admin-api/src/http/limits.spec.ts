/* eslint-disable @typescript-eslint/no-unsafe-assignment, @typescript-eslint/no-unsafe-member-access -- answers are looked into as they come */
import { ManualClock } from '@azaion/kernel';

import { Housekeeping } from '../persistence/housekeeping.js';
import { DraftUpload } from '../testing/draft-upload.js';
import { type Account, type Answer, type StartedApi, startApi } from '../testing/started-api.js';
import { startReplicas } from '../testing/started-replicas.js';

const MINUTE_MS = 60_000;

describe('limits over two replicas', () => {
  it('are counted together: attempts, and failures until an account is locked', async () => {
    const clock = new ManualClock(Date.now());
    const replicas = await startReplicas(
      { LOGIN_ATTEMPTS_PER_ADDRESS: '12', LOGIN_ATTEMPTS_PER_ACCOUNT: '100', TRUSTED_PROXIES: '127.0.0.1' },
      clock,
    );
    try {
      const attempt = (index: number, address: string, password = 'guess'): Promise<Answer> =>
        (index % 2 === 0 ? replicas.one : replicas.other).call('POST', '/login', {
          body: { email: 'root@example.com', password },
          headers: { 'x-forwarded-for': address },
        });
      const statuses = await Promise.all(
        Array.from({ length: 20 }, async (_, index) => (await attempt(index, '192.0.2.20')).status),
      );
      expect(statuses.filter((status) => status === 401)).toHaveLength(12);
      expect(statuses.filter((status) => status === 429)).toHaveLength(8);
      clock.advance(MINUTE_MS);
      for (const index of [0, 1])
        // ten failures and more lock it, on either replica, for that address alone
        expect((await attempt(index, '192.0.2.20', replicas.one.administrator.password)).status).toBe(401);
      expect((await attempt(1, '192.0.2.21', replicas.one.administrator.password)).status).toBe(200);
    } finally {
      await replicas.stop();
    }
  });
});

describe('limits over HTTP', () => {
  let api: StartedApi;
  let operator: Account;
  let publisher: Account;
  const clock = new ManualClock(Date.now());
  beforeAll(async () => {
    api = await startApi(
      { LOGIN_ATTEMPTS_PER_ADDRESS: '30', LOGIN_ATTEMPTS_PER_ACCOUNT: '20', TRUSTED_PROXIES: '127.0.0.1' },
      clock,
    );
    // Made at once: the administrator's token does not last through these tests.
    [operator, publisher] = [await api.account('Operator'), await api.account('ResourceUploader')];
  });
  afterAll(() => api.stop());
  beforeEach(() => clock.advance(MINUTE_MS)); // every test has a fresh minute

  const logInFrom = (address: string, email: string, password: string): Promise<Answer> =>
    api.call('POST', '/login', { body: { email, password }, headers: { 'x-forwarded-for': address } });

  it('lock an account after ten failures for a quarter of an hour, for that address alone, however often it is tried meanwhile', async () => {
    const { email, password } = operator;
    for (let failure = 0; failure < 10; failure++)
      expect((await logInFrom('192.0.2.1', email, 'guess')).status).toBe(401);
    expect((await logInFrom('192.0.2.1', email, password)).status).toBe(401); // locked
    expect((await logInFrom('192.0.2.2', email, password)).status).toBe(200);
    clock.advance(15 * MINUTE_MS - 1);
    for (const tried of [password, 'guess']) expect((await logInFrom('192.0.2.1', email, tried)).status).toBe(401);
    clock.advance(1);
    expect((await logInFrom('192.0.2.1', email, password)).status).toBe(200);
  });

  it('count all attempts of an address, whatever the account, for a minute', async () => {
    for (let attempt = 0; attempt < 30; attempt++)
      expect((await logInFrom('192.0.2.3', `nobody-${String(attempt)}@example.com`, 'guess')).status).toBe(401);
    const { status, json, headers } = await logInFrom('192.0.2.3', 'somebody@example.com', 'guess');
    expect({ status, code: json.code }).toEqual({ status: 429, code: 'login.rate-limited' });
    expect(Number(headers.get('retry-after'))).toBeLessThanOrEqual(60);
    expect((await logInFrom('192.0.2.4', 'somebody@example.com', 'guess')).status).toBe(401);
    clock.advance(MINUTE_MS);
    expect((await logInFrom('192.0.2.3', 'somebody@example.com', 'guess')).status).toBe(401);
  });

  it('take a whole /64 of IPv6 for one address', async () => {
    for (let attempt = 0; attempt < 30; attempt++)
      await logInFrom(`2001:db8:0:1::${attempt.toString(16)}`, `nobody-${String(attempt)}@example.com`, 'guess');
    expect((await logInFrom('2001:DB8::1:ffff:0:0:1', 'somebody@example.com', 'guess')).status).toBe(429);
    expect((await logInFrom('2001:db8:0:2::1', 'somebody@example.com', 'guess')).status).toBe(401);
  });

  it('count failed logins of devices, and record no more of them than they let through', async () => {
    const logIn = (assertion: string): Promise<Answer> =>
      api.call('POST', '/login/device', { body: { assertion }, headers: { 'x-forwarded-for': '192.0.2.6' } });
    for (let attempt = 0; attempt < 30; attempt++) expect((await logIn('a.b.c')).status).toBe(401);
    for (let attempt = 0; attempt < 3; attempt++) expect((await logIn('a.b.c')).status).toBe(429);
    const events = await api.infrastructure.database.queries
      .selectFrom('audit_events')
      .select('id')
      .where('event', '=', 'device.login-failed')
      .where('address', '=', '192.0.2.6')
      .execute();
    expect(events).toHaveLength(30);
  });

  it('count refresh tokens that are refused, of an address; good ones go on', async () => {
    const { refresh_token: good } = (await logInFrom('192.0.2.9', operator.email, operator.password)).json;
    const refresh = (refreshToken: string): Promise<Answer> =>
      api.call('POST', '/token/refresh', { body: { refreshToken }, headers: { 'x-forwarded-for': '192.0.2.7' } });
    for (let attempt = 0; attempt < 30; attempt++) expect((await refresh(`guess-${String(attempt)}`)).status).toBe(401);
    const { status, headers } = await refresh('one more');
    expect(status).toBe(429);
    expect(Number(headers.get('retry-after'))).toBeLessThanOrEqual(60);
    expect((await refresh(good as string)).status).toBe(200);
  });

  it('let one session refresh thirty times a minute', async () => {
    let { json } = await logInFrom('192.0.2.8', operator.email, operator.password);
    const refresh = (): Promise<Answer> =>
      api.call('POST', '/token/refresh', { body: { refreshToken: json.refresh_token as string } });
    for (let times = 0; times < 30; times++) {
      const answer = await refresh();
      expect(answer.status).toBe(200);
      json = answer.json;
    }
    expect((await refresh()).status).toBe(429);
    clock.advance(MINUTE_MS);
    expect((await refresh()).status).toBe(200); // it was refused, not used
  });

  it('are recorded with the address that the trusted proxy names', async () => {
    const { email, id } = operator;
    await logInFrom('192.0.2.5', email, 'guess');
    const event = await api.infrastructure.database.queries
      .selectFrom('audit_events')
      .select(['event', 'address'])
      .where('actor', '=', id)
      .orderBy('id', 'desc')
      .executeTakeFirst();
    expect(event).toEqual({ event: 'login.failed', address: '192.0.2.5' });
  });

  it('of sessions hold for access tokens too: none outlives its session', async () => {
    const { email, password } = operator;
    let { json } = await api.logIn(email, password);
    const expiresAt = (): number =>
      JSON.parse(Buffer.from((json.access_token as string).split('.')[1]!, 'base64url').toString()).exp as number;
    const endsAt = Math.floor(clock.nowMs() / 1000) + 12 * 3600;
    for (const minutes of [6 * 60, 5 * 60, 50]) {
      clock.advance(minutes * MINUTE_MS);
      ({ json } = await api.call('POST', '/token/refresh', { body: { refreshToken: json.refresh_token } }));
    }
    expect(expiresAt()).toBe(endsAt);
    expect(json.expires_in).toBe(600);
  });

  it('are swept up: counts, sessions and the drafts of uploads that have run out', async () => {
    const token = (await api.logIn(publisher.email, publisher.password)).json.access_token as string;
    const upload = await DraftUpload.open(api, { token }, 'models/swept');
    await upload.call('PUT', '/segments/root/0', new Uint8Array(100));
    const { queries } = api.infrastructure.database;
    const left = async (): Promise<readonly number[]> => [
      (await queries.selectFrom('rate_limits').select('key').execute()).length,
      (await queries.selectFrom('sessions').select('id').where('user_id', '=', publisher.id).execute()).length,
      (await queries.selectFrom('upload_segments').select('kind').where('upload_id', '=', upload.id).execute()).length,
    ];
    await api.app.get(Housekeeping).run();
    expect((await left()).every((count) => count > 0)).toBe(true);
    clock.advance(25 * 60 * MINUTE_MS);
    await api.app.get(Housekeeping).run();
    expect(await left()).toEqual([0, 0, 0]);
  });
});
