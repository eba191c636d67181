/* eslint-disable @typescript-eslint/no-unsafe-assignment, @typescript-eslint/no-unsafe-member-access -- answers are looked into as they come */
import { ManualClock } from '@azaion/kernel';

import { AdminConfig } from '../config.js';
import { maintenanceCommands } from '../maintenance.js';
import { Housekeeping } from '../persistence/housekeeping.js';
import { type Answer, type StartedApi, startApi } from '../testing/started-api.js';
import { type StartedReplicas, startReplicas } from '../testing/started-replicas.js';
import { PUBLISHED_AHEAD_SECONDS, TokenKeys } from './token-keys.js';

const SYSTEM = { id: 'system', address: '' };
const TOKEN_SECONDS = 15 * 60;

describe('rotation of the keys that sign tokens', () => {
  let replicas: StartedReplicas;
  let both: readonly StartedApi[];
  const clock = new ManualClock(Date.now());
  beforeAll(async () => {
    replicas = await startReplicas({ LOGIN_ATTEMPTS_PER_ACCOUNT: '100000' }, clock);
    both = [replicas.one, replicas.other];
  });
  afterAll(() => replicas.stop());

  const kidOf = (token: string): string =>
    JSON.parse(Buffer.from(token.split('.')[0]!, 'base64url').toString()).kid as string;
  const logIn = async (api: StartedApi): Promise<string> => {
    const { json } = await api.logIn('root@example.com', api.administrator.password);
    return json.access_token as string;
  };
  const use = async (api: StartedApi, token: string): Promise<number> =>
    (await api.call('GET', '/users/current', { token })).status;
  const published = async (api: StartedApi): Promise<readonly string[]> =>
    ((await api.call('GET', '/.well-known/jwks.json')).json.keys as { kid: string }[]).map(({ kid }) => kid);

  it('publishes a key before it signs, keeps the old one until its tokens are dead, and fails no request in between', async () => {
    const oldKid = kidOf(await logIn(replicas.one));
    const { kid: newKid, signsFrom } = await replicas.one.app.get(TokenKeys).rotate(SYSTEM);
    expect(signsFrom.getTime() - clock.nowMs()).toBe(PUBLISHED_AHEAD_SECONDS * 1000);

    const seen: string[] = [];
    const living: { token: string; untilMs: number }[] = [];
    const endMs = signsFrom.getTime() + (TOKEN_SECONDS + 300) * 1000;
    for (let round = 0; clock.nowMs() < endMs; round++) {
      const [issuing, verifying] = round % 2 === 0 ? both : [...both].reverse();
      const known = await published(verifying!);
      const token = await logIn(issuing!);
      seen.push(kidOf(token));
      expect(known).toContain(kidOf(token));
      living.push({ token, untilMs: clock.nowMs() + TOKEN_SECONDS * 1000 });
      for (const { token: alive } of living.filter(({ untilMs }) => untilMs > clock.nowMs()))
        expect(await use(verifying!, alive)).toBe(200);
      clock.advance(97_000);
    }
    // One change, at its time, on both replicas.
    const change = seen.indexOf(newKid);
    expect(seen).toEqual(seen.map((_, round) => (round < change ? oldKid : newKid)));
    expect(change).toBe(Math.ceil((PUBLISHED_AHEAD_SECONDS * 1000) / 97_000));
    for (const api of both) expect(await published(api)).toEqual([newKid]);
  });

  it('refuses a second rotation while the new key does not sign yet', async () => {
    const [first, second] = await Promise.allSettled(both.map((api) => api.app.get(TokenKeys).rotate(SYSTEM)));
    expect([first?.status, second?.status].sort()).toEqual(['fulfilled', 'rejected']);
    await expect(replicas.one.app.get(TokenKeys).rotate(SYSTEM)).rejects.toMatchObject({ code: 'token-key.rotating' });
    expect(await published(replicas.other)).toHaveLength(2);
  });

  it('forgets the private half of a dead key', async () => {
    const stored = async (): Promise<number> =>
      (
        await replicas.one.infrastructure.database.queries
          .selectFrom('signing_keys')
          .select('kid')
          .where('purpose', '=', 'token')
          .execute()
      ).length;
    expect(await stored()).toBe(3);
    await replicas.one.app.get(Housekeeping).run();
    expect(await stored()).toBe(2);
    clock.advance((PUBLISHED_AHEAD_SECONDS + TOKEN_SECONDS + 300) * 1000);
    await replicas.other.app.get(Housekeeping).run();
    expect(await stored()).toBe(1);
    expect(await use(replicas.one, await logIn(replicas.other))).toBe(200);
  });
});

describe('signing tokens with few connections', () => {
  it('needs no second one, however long ago the keys were read', async () => {
    const clock = new ManualClock(Date.now());
    const api = await startApi({ DATABASE_CONNECTIONS: '4', LOGIN_ATTEMPTS_PER_ACCOUNT: '1000' }, clock);
    try {
      const logIn = (): Promise<Answer> => api.logIn(api.administrator.email, api.administrator.password);
      const sessions = await Promise.all(Array.from({ length: 16 }, logIn));
      clock.advance(61_000);
      const refreshed = await Promise.all(
        sessions.map(({ json }) => api.call('POST', '/token/refresh', { body: { refreshToken: json.refresh_token } })),
      );
      expect(refreshed.map(({ status }) => status)).toEqual(sessions.map(() => 200));
      clock.advance(61_000);
      const again = await Promise.all(Array.from({ length: 8 }, logIn));
      expect(again.map(({ status }) => status)).toEqual(again.map(() => 200));
    } finally {
      await api.stop();
    }
  });
});

describe('the command rotate-token-key', () => {
  let api: StartedApi;
  beforeAll(async () => (api = await startApi()));
  afterAll(() => api.stop());

  it('works beside the service, says what it did, and is recorded', async () => {
    const said: string[] = [];
    const command = maintenanceCommands({ write: (text) => said.push(text) }).find(
      ({ words }) => words === 'rotate-token-key',
    );
    const config = api.app.get(AdminConfig);
    expect(await command?.run(config)).toBe(0);
    const { json } = await api.call('GET', '/.well-known/jwks.json');
    expect(json.keys).toHaveLength(2);
    const kid = json.keys[0].kid as string;
    expect(said.join('')).toContain(`The key ${kid} is published now`);
    expect(await command?.run(config)).toBe(1);
    expect(said.join('')).toContain('Not done: A rotation is under way');
    const events = await api.call('GET', '/audit?event=token-key.rotated', { token: api.administrator.token });
    expect(events.json.events).toHaveLength(1);
    expect(events.json.events[0]).toMatchObject({ actor: 'system', subject: kid });
  });
});
