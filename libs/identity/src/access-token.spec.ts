import type { SigningKey } from '@azaion/crypto';
import { ManualClock } from '@azaion/kernel';
import { decodeJwt, decodeProtectedHeader } from 'jose';

import { ACCESS_TOKEN_TYPE, AccessTokenIssuer, LOCAL_TOKEN_TYPE } from './access-token.js';
import { InMemoryJwksSource } from './testing/in-memory-jwks-source.js';

const CLAIMS = { userId: 'u-1', email: 'a@azaion.com', role: 'Operator', sessionId: 's-1' } as const;
const PROFILE = { issuer: 'azaion-admin-api', audience: 'azaion', lifetimeSeconds: 900 };
const NOW_SECONDS = 1_800_000_000;

describe('AccessTokenIssuer', () => {
  let key: SigningKey;
  let asked: number;
  let issuer: AccessTokenIssuer;

  beforeEach(async () => {
    key = await new InMemoryJwksSource().publish();
    asked = 0;
    issuer = issuerOf({});
  });

  function issuerOf(profile: { readonly type?: string }): AccessTokenIssuer {
    const ask = (): Promise<SigningKey> => {
      asked += 1;
      return Promise.resolve(key);
    };
    return new AccessTokenIssuer(ask, new ManualClock(NOW_SECONDS * 1000 + 999), { ...PROFILE, ...profile });
  }

  it('says what docs/reference/sealed-wire.md promises, and nothing else', async () => {
    const token = await issuer.issue(CLAIMS);
    expect(decodeProtectedHeader(token)).toEqual({ alg: 'ES256', kid: key.kid, typ: 'at+jwt' });
    expect(decodeJwt(token)).toEqual({
      iss: 'azaion-admin-api',
      aud: 'azaion',
      sub: 'u-1',
      jti: expect.stringMatching(/^[0-9a-f-]{36}$/) as string,
      sid: 's-1',
      iat: NOW_SECONDS,
      exp: NOW_SECONDS + 900,
      nameid: 'u-1',
      unique_name: 'a@azaion.com',
      role: 'Operator',
    });
  });

  it('names the device of one that logged in with its key', async () => {
    expect(decodeJwt(await issuer.issue({ ...CLAIMS, deviceSerial: 'azj-0001' }))).toMatchObject({
      device: 'azj-0001',
    });
  });

  it.each([
    [undefined, ACCESS_TOKEN_TYPE],
    [LOCAL_TOKEN_TYPE, LOCAL_TOKEN_TYPE],
  ])('gives tokens of the type %p: %s', async (type, typ) => {
    const token = await issuerOf(type === undefined ? {} : { type }).issue(CLAIMS);
    expect(decodeProtectedHeader(token)).toMatchObject({ typ });
  });

  it.each([
    [60, 60],
    [899, 899],
    [901, 900],
    [1_000_000, 900],
  ])('lets a token that is to live %i seconds live %i', async (lifetimeSeconds, lives) => {
    expect(decodeJwt(await issuer.issue(CLAIMS, lifetimeSeconds))).toMatchObject({ exp: NOW_SECONDS + lives });
    expect(issuer.lifetimeSeconds).toBe(900);
  });

  it('asks for the key at every token, and not where it was given one', async () => {
    const before = await issuer.key();
    expect(before).toBe(key);
    key = await new InMemoryJwksSource().publish();
    expect(decodeProtectedHeader(await issuer.issue(CLAIMS))).toMatchObject({ kid: key.kid });
    expect(asked).toBe(2);
    expect(decodeProtectedHeader(await issuer.issue(CLAIMS, 60, before))).toMatchObject({ kid: before.kid });
    expect(asked).toBe(2);
  });

  it('gives every token an id of its own', async () => {
    const ids = [decodeJwt(await issuer.issue(CLAIMS)).jti, decodeJwt(await issuer.issue(CLAIMS)).jti];
    expect(new Set(ids).size).toBe(2);
  });
});
