import { ApiClient } from '@azaion/adapters/resource-api';
import { generateP256KeyPair, importSigningKey } from '@azaion/crypto';
import { AccessTokenIssuer } from '@azaion/identity';
import { ManualClock, Secret } from '@azaion/kernel';
import { OlderAdminApi } from '@azaion/testing';

import { LegacyAccounts } from './legacy-accounts.js';

const ACCOUNT = { email: 'test@azaion.com', password: 'validpass', role: 'Operator' };
const LIFETIME_SECONDS = 600;

describe('LegacyAccounts', () => {
  let admin: OlderAdminApi;
  let client: ApiClient;
  let clock: ManualClock;
  let accounts: LegacyAccounts;

  beforeEach(async () => {
    admin = new OlderAdminApi([ACCOUNT]);
    client = new ApiClient({ baseUrl: await admin.start() });
    clock = new ManualClock(Date.now());
    const key = await importSigningKey('kid', (await generateP256KeyPair()).privateJwk);
    const profile = { issuer: 'loader', audience: 'loader', lifetimeSeconds: LIFETIME_SECONDS };
    const issuer = new AccessTokenIssuer(() => Promise.resolve(key), clock, profile);
    accounts = new LegacyAccounts(client, issuer, clock, { sweepMs: 1 });
  });
  afterEach(async () => {
    accounts.close();
    await client.close();
    await admin.stop();
  });

  /** @returns The id of the new session. */
  async function logIn(): Promise<string> {
    const { accessToken } = await accounts.logIn(ACCOUNT.email, new Secret(ACCOUNT.password));
    const claims = Buffer.from(accessToken.reveal().split('.')[1] ?? '', 'base64url').toString();
    return (JSON.parse(claims) as { sid: string }).sid;
  }

  it('forgets sessions and their passwords once they have expired, though nobody logs in any more', async () => {
    const sessionId = await logIn();
    clock.advance(LIFETIME_SECONDS * 1000 - 1);
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
    expect(accounts.has(sessionId)).toBe(true);
    clock.advance(1);
    while (accounts.has(sessionId)) await new Promise((resolve) => setImmediate(resolve));
    expect(() => accounts.of(sessionId)).toThrow('has ended');
  });

  it('forgets everybody when it is closed', async () => {
    const sessionId = await logIn();
    accounts.close();
    expect(accounts.has(sessionId)).toBe(false);
  });
});
