import { createHmac, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';

import { generateP256KeyPair, type SigningKey } from '@azaion/crypto';
import { ManualClock } from '@azaion/kernel';
import { CompactSign, exportSPKI, type JWTPayload, SignJWT } from 'jose';

import { AccessTokenIssuer, LOCAL_TOKEN_TYPE } from './access-token.js';
import {
  CLOCK_TOLERANCE_SECONDS,
  JWKS_COOLDOWN_MS,
  JWKS_MAX_AGE_MS,
  JWKS_RETRY_MS,
  JwksTokenVerifier,
  MAX_TOKEN_CHARS,
} from './jwks-token-verifier.js';
import { InMemoryJwksSource } from './testing/in-memory-jwks-source.js';
import { SENTENCE } from './testing/sentence.js';

const EXPECTED = { issuer: 'azaion-admin-api', audience: 'azaion' };
const CLAIMS = { userId: 'u-1', email: 'a@azaion.com', role: 'Operator', sessionId: 's-1' } as const;
const LIFETIME_SECONDS = 900;
const INVALID = { code: 'token.invalid', message: SENTENCE };
const NOW_SECONDS = 1_800_000_000;

const b64 = (value: unknown): string =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');

describe('JwksTokenVerifier', () => {
  let clock: ManualClock;
  let source: InMemoryJwksSource;
  let key: SigningKey;
  let verifier: JwksTokenVerifier;
  let issuer: AccessTokenIssuer;

  beforeEach(async () => {
    clock = new ManualClock(NOW_SECONDS * 1000);
    source = new InMemoryJwksSource();
    key = await source.publish();
    verifier = new JwksTokenVerifier(source, clock, EXPECTED);
    issuer = new AccessTokenIssuer(() => Promise.resolve(key), clock, {
      ...EXPECTED,
      lifetimeSeconds: LIFETIME_SECONDS,
    });
  });

  /** A token with the right key, of which a test changes one thing. */
  function forged(changes: JWTPayload, header: Record<string, unknown> = {}, without?: string): Promise<string> {
    const claims: JWTPayload = {
      iss: EXPECTED.issuer,
      aud: EXPECTED.audience,
      sub: 'u-1',
      jti: 'j',
      sid: 's',
      iat: NOW_SECONDS,
      exp: NOW_SECONDS + LIFETIME_SECONDS,
      unique_name: 'a@azaion.com',
      role: 'Operator',
      ...changes,
    };
    const kept = Object.fromEntries(Object.entries(claims).filter(([name]) => name !== without));
    return new SignJWT(kept)
      .setProtectedHeader({ alg: 'ES256', kid: key.kid, typ: 'at+jwt', ...header })
      .sign(key.privateKey);
  }

  it('names the caller of a token of the issuer', async () => {
    const caller = await verifier.verify(await issuer.issue({ ...CLAIMS, deviceSerial: 'azj-0001' }));
    expect(caller).toEqual({
      userId: 'u-1',
      email: 'a@azaion.com',
      role: 'Operator',
      sessionId: 's-1',
      tokenId: expect.any(String) as string,
      expiresAt: NOW_SECONDS + LIFETIME_SECONDS,
      deviceSerial: 'azj-0001',
    });
    expect((await verifier.verify(await issuer.issue(CLAIMS))).deviceSerial).toBeUndefined();
  });

  it('carries the names that older verifiers read', async () => {
    const [, payload = ''] = (await issuer.issue(CLAIMS)).split('.');
    expect(JSON.parse(Buffer.from(payload, 'base64url').toString())).toMatchObject({
      nameid: 'u-1',
      unique_name: 'a@azaion.com',
      role: 'Operator',
    });
  });

  it('accepts an audience list that names it', async () => {
    await expect(verifier.verify(await forged({ aud: ['other', 'azaion'] }))).resolves.toMatchObject({ userId: 'u-1' });
  });

  describe('attacks of RFC 8725', () => {
    it('refuses alg none, in every spelling, with and without a signature (§2.1)', async () => {
      const [, payload, signature] = (await forged({})).split('.') as [string, string, string];
      for (const alg of ['none', 'None', 'NONE', 'nOnE', ''])
        for (const end of ['', signature])
          await expect(
            verifier.verify(`${b64({ alg, kid: key.kid, typ: 'at+jwt' })}.${payload}.${end}`),
          ).rejects.toMatchObject(INVALID);
    });

    it('refuses HS256 keyed with the public key (§2.1)', async () => {
      const publicKey: KeyObject = await verifier.keyFor(await forged({}));
      const [, payload] = (await forged({})).split('.') as [string, string];
      const secrets = [
        publicKey.export({ type: 'spki', format: 'pem' }),
        publicKey.export({ type: 'spki', format: 'der' }),
        JSON.stringify(publicKey.export({ format: 'jwk' })),
        (await exportSPKI(publicKey)).trim(),
      ];
      for (const secret of secrets) {
        const input = `${b64({ alg: 'HS256', kid: key.kid, typ: 'at+jwt' })}.${payload}`;
        const mac = createHmac('sha256', secret).update(input).digest('base64url');
        await expect(verifier.verify(`${input}.${mac}`)).rejects.toMatchObject(INVALID);
      }
    });

    it('refuses every other algorithm, also with a good signature (§3.1)', async () => {
      const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
      const [, payload] = (await forged({})).split('.') as [string, string];
      for (const alg of ['RS256', 'PS256', 'ES384', 'ES512', 'EdDSA', 'es256']) {
        const input = `${b64({ alg, kid: key.kid, typ: 'at+jwt' })}.${payload}`;
        await expect(
          verifier.verify(`${input}.${sign('sha256', Buffer.from(input), privateKey).toString('base64url')}`),
        ).rejects.toMatchObject(INVALID);
      }
    });

    it('refuses a signature of zeros and one of another key (§3.2, CVE-2022-21449)', async () => {
      const [header, payload] = (await forged({})).split('.') as [string, string];
      await expect(verifier.verify(`${header}.${payload}.${b64('\0'.repeat(64))}`)).rejects.toMatchObject(INVALID);
      const stranger = await new InMemoryJwksSource().publish();
      const other = new AccessTokenIssuer(() => Promise.resolve({ ...stranger, kid: key.kid }), clock, {
        ...EXPECTED,
        lifetimeSeconds: LIFETIME_SECONDS,
      });
      await expect(verifier.verify(await other.issue(CLAIMS))).rejects.toMatchObject(INVALID);
    });

    it('refuses headers that bring or name a key of their own, or demand an extension (§3.10)', async () => {
      const own = await generateP256KeyPair();
      const headers: Record<string, unknown>[] = [
        { jwk: own.publicJwk },
        { jku: 'https://attacker.example/jwks.json' },
        { x5u: 'https://attacker.example/cert.pem' },
        { x5c: ['MIIB'] },
        { x5t: 'abc' },
        { cty: 'JWT' },
        { zip: 'DEF' },
        { b64: false },
      ];
      for (const header of headers)
        await expect(verifier.verify(await forged({}, header))).rejects.toMatchObject(INVALID);
      const [, payload, signature] = (await forged({})).split('.') as [string, string, string];
      const crit = b64({ alg: 'ES256', kid: key.kid, typ: 'at+jwt', crit: ['exp'] });
      await expect(verifier.verify(`${crit}.${payload}.${signature}`)).rejects.toMatchObject(INVALID);
    });

    it('refuses key ids that are unknown, missing, or meant for a file system or a database (§3.10)', async () => {
      for (const kid of ['', 'other', '../../dev/null', "' OR 1=1", '__proto__', 'constructor', key.kid.toUpperCase()])
        await expect(verifier.verify(await forged({}, { kid }))).rejects.toMatchObject(INVALID);
      const [, payload, signature] = (await forged({})).split('.') as [string, string, string];
      for (const kid of [undefined, null, 1, [key.kid], { kid: key.kid }])
        await expect(
          verifier.verify(`${b64({ alg: 'ES256', kid, typ: 'at+jwt' })}.${payload}.${signature}`),
        ).rejects.toMatchObject(INVALID);
    });

    it('refuses tokens of another type (§3.11)', async () => {
      for (const typ of ['JWT', 'jwt', 'application/at+jwt', 'AT+JWT', LOCAL_TOKEN_TYPE, ''])
        await expect(verifier.verify(await forged({}, { typ }))).rejects.toMatchObject(INVALID);
    });

    it('refuses other issuers and audiences (§3.8, §3.9)', async () => {
      for (const iss of ['', 'other', `${EXPECTED.issuer} `, `${EXPECTED.issuer}/`])
        await expect(verifier.verify(await forged({ iss }))).rejects.toMatchObject(INVALID);
      for (const aud of ['', 'other', ['other'], [] as string[]])
        await expect(verifier.verify(await forged({ aud }))).rejects.toMatchObject(INVALID);
    });

    it.each(['iss', 'aud', 'sub', 'jti', 'sid', 'iat', 'exp', 'unique_name', 'role'])(
      'refuses a token without %s',
      async (claim) => {
        await expect(verifier.verify(await forged({}, {}, claim))).rejects.toMatchObject(INVALID);
      },
    );

    it('refuses claims of the wrong type and roles that do not exist', async () => {
      const wrong: JWTPayload[] = [
        { role: 'Root' },
        { role: 'toString' },
        { role: ['ApiAdmin'] },
        { role: 1000 },
        { sid: 7 },
        { sub: '' },
        { device: '' },
        { device: 7 },
        { unique_name: { toString: 'x' } },
        { sid: 'x'.repeat(513) },
        { iat: -1 },
        { exp: -1 },
        { nbf: -1 },
        { iat: 'now' as unknown as number },
        { nbf: null as unknown as number },
      ];
      for (const claims of wrong) await expect(verifier.verify(await forged(claims))).rejects.toMatchObject(INVALID);
    });

    it('refuses claims that are truly signed and no object, or no UTF-8, or without an end', async () => {
      const signed = async (payload: Uint8Array | string): Promise<string> =>
        new CompactSign(Buffer.from(payload))
          .setProtectedHeader({ alg: 'ES256', kid: key.kid, typ: 'at+jwt' })
          .sign(key.privateKey);
      const [, good = ''] = (await forged({})).split('.');
      const claims = Buffer.from(good, 'base64url').toString();
      await expect(verifier.verify(await signed(claims))).resolves.toMatchObject({ userId: 'u-1' });
      for (const payload of [
        'null',
        '[]',
        '"text"',
        '1',
        '{',
        '',
        Uint8Array.of(0x22, 0xff, 0x22),
        claims.replace(/"exp":\d+/, '"exp":1e999'),
      ])
        await expect(verifier.verify(await signed(payload))).rejects.toMatchObject(INVALID);
    });

    it('takes texts of 512 characters', async () => {
      await expect(verifier.verify(await forged({ sid: 'x'.repeat(512) }))).resolves.toBeDefined();
    });

    it('refuses every single changed character of a token', async () => {
      const token = await forged({});
      for (let at = 0; at < token.length; at += 7) {
        const changed = token[at] === 'A' ? 'Q' : 'A';
        await expect(verifier.verify(token.slice(0, at) + changed + token.slice(at + 1))).rejects.toMatchObject(
          INVALID,
        );
      }
    });

    it('refuses what is no token', async () => {
      const [header, payload, signature] = (await forged({})).split('.') as [string, string, string];
      const texts = [
        '',
        '.',
        '..',
        'a.b.c',
        `${header}.${payload}`,
        `${header}.${payload}.${signature}.x`,
        'x'.repeat(MAX_TOKEN_CHARS + 1),
      ];
      for (const payloadText of ['null', '[]', '"text"', '1', '{', '\uFFFE'])
        texts.push(`${header}.${b64(payloadText)}.${signature}`);
      for (const text of texts) await expect(verifier.verify(text)).rejects.toMatchObject(INVALID);
    });
  });

  describe('issuedAt', () => {
    it('is the time of a token that is meant for it, even one that is over', async () => {
      const token = await issuer.issue(CLAIMS);
      clock.advance(10 * LIFETIME_SECONDS * 1000);
      expect(await verifier.issuedAt(token)).toBe(NOW_SECONDS);
    });

    it('refuses a token without a time, of another issuer, for another audience, or by another key', async () => {
      const stranger = await new InMemoryJwksSource().publish();
      const other = new AccessTokenIssuer(() => Promise.resolve({ ...stranger, kid: key.kid }), clock, {
        ...EXPECTED,
        lifetimeSeconds: LIFETIME_SECONDS,
      });
      for (const token of [
        await forged({}, {}, 'iat'),
        await forged({ iat: -1 }),
        await forged({ iss: 'other' }),
        await forged({ aud: 'other' }),
        await other.issue(CLAIMS),
      ])
        await expect(verifier.issuedAt(token)).rejects.toMatchObject(INVALID);
    });
  });

  it('tells an expired token from a bad one, with a small tolerance', async () => {
    const token = await issuer.issue(CLAIMS);
    clock.advance((LIFETIME_SECONDS + CLOCK_TOLERANCE_SECONDS) * 1000 - 1);
    await expect(verifier.verify(token)).resolves.toMatchObject({ userId: 'u-1' });
    clock.advance(1);
    await expect(verifier.verify(token)).rejects.toMatchObject({ code: 'token.expired', message: SENTENCE });
  });

  it('refuses a token from the future, with a small tolerance', async () => {
    const within = NOW_SECONDS + CLOCK_TOLERANCE_SECONDS;
    await expect(verifier.verify(await forged({ nbf: within, iat: within }))).resolves.toBeDefined();
    await expect(verifier.verify(await forged({ nbf: within + 1 }))).rejects.toMatchObject(INVALID);
    await expect(verifier.verify(await forged({ iat: within + 1 }))).rejects.toMatchObject(INVALID);
  });

  describe('fetching keys', () => {
    it('fetches once for many tokens, also at the same time', async () => {
      const token = await issuer.issue(CLAIMS);
      await Promise.all(Array.from({ length: 20 }, () => verifier.verify(token)));
      await verifier.verify(token);
      expect(source.fetches).toBe(1);
    });

    it('fetches at most once in the cooldown however many forged key ids come', async () => {
      await verifier.verify(await issuer.issue(CLAIMS));
      for (let forgedId = 0; forgedId < 50; forgedId += 1)
        await expect(verifier.verify(await forged({}, { kid: `forged-${String(forgedId)}` }))).rejects.toMatchObject(
          INVALID,
        );
      expect(source.fetches).toBe(1);
      clock.advance(JWKS_COOLDOWN_MS);
      for (let forgedId = 0; forgedId < 50; forgedId += 1)
        await expect(verifier.verify(await forged({}, { kid: `forged-${String(forgedId)}` }))).rejects.toMatchObject(
          INVALID,
        );
      expect(source.fetches).toBe(2);
    });

    it('does not fetch for tokens whose header is refused', async () => {
      await expect(verifier.verify(await forged({}, { typ: 'JWT' }))).rejects.toMatchObject(INVALID);
      expect(source.fetches).toBe(0);
    });

    it('learns a new key after the cooldown and forgets a withdrawn one after the longest age', async () => {
      const old = key;
      await verifier.verify(await issuer.issue(CLAIMS));
      key = await source.publish();
      clock.advance(JWKS_COOLDOWN_MS);
      await expect(verifier.verify(await issuer.issue(CLAIMS))).resolves.toBeDefined();
      source.withdraw(old.kid);
      clock.advance(JWKS_MAX_AGE_MS + 1);
      await verifier.verify(await issuer.issue(CLAIMS)); // starts the refresh in the background
      key = old;
      clock.advance(JWKS_COOLDOWN_MS);
      await expect(verifier.verify(await issuer.issue(CLAIMS))).rejects.toMatchObject(INVALID);
    });

    it('goes on with the keys it has while the source is down', async () => {
      await verifier.verify(await issuer.issue(CLAIMS));
      source.failure = new Error('down');
      clock.advance(JWKS_MAX_AGE_MS + 1);
      await expect(verifier.verify(await issuer.issue(CLAIMS))).resolves.toBeDefined();
    });

    it('says of an unknown key that it cannot be looked up while the source is down, once for all in the cooldown', async () => {
      await verifier.verify(await issuer.issue(CLAIMS));
      source.failure = new Error('down');
      key = await source.publish();
      clock.advance(JWKS_COOLDOWN_MS);
      const renewed = await issuer.issue(CLAIMS);
      for (let call = 0; call < 50; call += 1) await expect(verifier.verify(renewed)).rejects.toThrow('down');
      expect(source.fetches).toBe(2);
      source.failure = undefined;
      clock.advance(JWKS_COOLDOWN_MS);
      await expect(verifier.verify(renewed)).resolves.toBeDefined();
    });

    it('goes by a copy of earlier keys until the source has answered, which is asked again soon', async () => {
      const token = await issuer.issue(CLAIMS);
      const copy = await source.currentKeys();
      source.keptKeys = () => Promise.resolve(copy);
      source.failure = new Error('down');
      await expect(verifier.verify(token)).resolves.toBeDefined();
      await expect(verifier.verify(await forged({}, { kid: 'forged' }))).rejects.toThrow('down');
      source.failure = undefined;
      source.withdraw(key.kid);
      await source.publish();
      clock.advance(JWKS_COOLDOWN_MS);
      await verifier.verify(token); // starts the refresh in the background
      await new Promise(setImmediate);
      await expect(verifier.verify(token)).rejects.toMatchObject(INVALID);
    });

    it("passes the source's error on while it has no keys at all, and tries again soon, not at once", async () => {
      source.failure = new Error('down');
      const token = await issuer.issue(CLAIMS);
      await expect(verifier.verify(token)).rejects.toThrow('down');
      await expect(verifier.verify(token)).rejects.toThrow('down');
      expect(source.fetches).toBe(1);
      source.failure = undefined;
      clock.advance(JWKS_RETRY_MS);
      await expect(verifier.verify(token)).resolves.toBeDefined();
    });
  });
});
