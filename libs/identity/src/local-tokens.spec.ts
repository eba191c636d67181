import { generateP256KeyPair, importSigningKey, keyThumbprint, type PrivateJwk } from '@azaion/crypto';
import { ManualClock } from '@azaion/kernel';

import { AccessTokenIssuer, LOCAL_TOKEN_TYPE } from './access-token.js';
import { CLOCK_TOLERANCE_SECONDS, JwksTokenVerifier } from './jwks-token-verifier.js';
import { LOCAL_TOKEN_SECONDS, LocalTokens } from './local-tokens.js';
import { InMemoryJwksSource } from './testing/in-memory-jwks-source.js';

const ACCOUNT = { serial: 'azj-0001', email: 'azj-0001@azaion.com' };
const API = { issuer: 'azaion-admin-api', audience: 'azaion' };

let clock: ManualClock;
let key: PrivateJwk;
let tokens: LocalTokens;

beforeEach(async () => {
  clock = new ManualClock(1_800_000_000_000);
  key = (await generateP256KeyPair()).privateJwk;
  tokens = await LocalTokens.create(ACCOUNT, key, clock);
});

describe('LocalTokens', () => {
  it('names the device, and that the token is local', async () => {
    expect(await tokens.verify(await tokens.issue(600))).toMatchObject({
      userId: 'azj-0001',
      email: 'azj-0001@azaion.com',
      role: 'CompanionPC',
      deviceSerial: 'azj-0001',
      expiresAt: 1_800_000_600,
      local: true,
    });
  });

  it('gives each token a session of its own', async () => {
    const [first, second] = [await tokens.verify(await tokens.issue(60)), await tokens.verify(await tokens.issue(60))];
    expect(first.sessionId).not.toBe(second.sessionId);
  });

  it('never lives longer than its bound', async () => {
    const { expiresAt } = await tokens.verify(await tokens.issue(10 * LOCAL_TOKEN_SECONDS));
    expect(expiresAt).toBe(1_800_000_000 + LOCAL_TOKEN_SECONDS);
    const token = await tokens.issue(60);
    clock.advance((60 + CLOCK_TOLERANCE_SECONDS) * 1000);
    await expect(tokens.verify(token)).rejects.toMatchObject({ code: 'token.expired' });
  });

  it('is verified after a restart, and not by another device', async () => {
    const token = await tokens.issue(60);
    await expect((await LocalTokens.create(ACCOUNT, key, clock)).verify(token)).resolves.toMatchObject({ local: true });
    const otherKey = (await generateP256KeyPair()).privateJwk;
    await expect((await LocalTokens.create(ACCOUNT, otherKey, clock)).verify(token)).rejects.toMatchObject({
      code: 'token.invalid',
    });
    const otherDevice = await LocalTokens.create({ ...ACCOUNT, serial: 'azj-0002' }, key, clock);
    await expect(otherDevice.verify(token)).rejects.toMatchObject({ code: 'token.invalid' });
  });

  it("is never accepted by the Admin API, and never accepts the Admin API's, not even with the same key", async () => {
    const source = new InMemoryJwksSource();
    const apiKey = await source.publish();
    const api = new JwksTokenVerifier(source, clock, API);
    await expect(api.verify(await tokens.issue(60))).rejects.toMatchObject({ code: 'token.invalid' });
    const kid = await keyThumbprint(key);
    const own = await importSigningKey(kid, key);
    const ofApi = { ...API, lifetimeSeconds: 900 };
    const ofLoader = { issuer: 'azaion-loader/azj-0001', audience: 'azaion-loader', lifetimeSeconds: 900 };
    const claims = { userId: 'u', email: 'root@azaion.com', role: 'ApiAdmin', sessionId: 's' } as const;
    for (const profile of [
      ofApi,
      { ...ofApi, type: LOCAL_TOKEN_TYPE },
      ofLoader,
      { ...ofLoader, audience: 'azaion', type: LOCAL_TOKEN_TYPE },
      { ...ofLoader, issuer: 'azaion-admin-api', type: LOCAL_TOKEN_TYPE },
    ])
      for (const signing of [own, { ...apiKey, kid }]) {
        const token = await new AccessTokenIssuer(() => Promise.resolve(signing), clock, profile).issue(claims);
        await expect(tokens.verify(token)).rejects.toMatchObject({ code: 'token.invalid' });
      }
  });

  it('tells local tokens from others, and from what is none', async () => {
    expect(LocalTokens.claims(await tokens.issue(60))).toBe(true);
    for (const text of ['', 'a.b.c', '..', 'eyJhbGciOiJFUzI1NiJ9.e30.AA']) expect(LocalTokens.claims(text)).toBe(false);
  });
});
