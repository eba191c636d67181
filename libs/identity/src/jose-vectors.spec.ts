import { readFileSync } from 'node:fs';

import { importSigningKey, type PrivateJwk } from '@azaion/crypto';
import { ManualClock } from '@azaion/kernel';

import { AccessTokenIssuer } from './access-token.js';
import { es256Payload } from './es256.js';
import { JwksSource, parseJwks } from './jwks.js';
import { JwksTokenVerifier } from './jwks-token-verifier.js';

/** Published tokens: see `origin` in the file. */
const vectors = JSON.parse(readFileSync(new URL('./fixtures/jose-vectors.json', import.meta.url), 'utf8')) as {
  readonly p256: readonly {
    readonly name: string;
    readonly jwk: object;
    readonly tests: readonly {
      readonly id: number;
      readonly comment: string;
      readonly jws: string;
      readonly valid: boolean;
    }[];
  }[];
  readonly others: readonly {
    readonly id: number;
    readonly name: string;
    readonly alg: string;
    readonly jws: string;
  }[];
  readonly rfc7515A3: { readonly jwk: PrivateJwk; readonly d: string; readonly jws: string };
};
const INVALID = { code: 'token.invalid' };
const EXPECTED = { issuer: 'azaion-admin-api', audience: 'azaion' };
const KID = 'kid-ec-sign';

/** A set as the Admin API would publish it. */
class PublishedKey extends JwksSource {
  constructor(private readonly jwk: object) {
    super();
  }

  override currentKeys(): Promise<unknown> {
    return Promise.resolve({ keys: [{ kid: KID, ...this.jwk }] });
  }
}

const clock = new ManualClock(1_800_000_000_000);
const verifierOf = (jwk: object): JwksTokenVerifier => new JwksTokenVerifier(new PublishedKey(jwk), clock, EXPECTED);

describe.each(vectors.p256)('Wycheproof’s tokens, group $name', ({ jwk, tests }) => {
  it.each(tests)('$id: $comment', async ({ jws, valid }) => {
    const [key] = parseJwks({ keys: [{ kid: KID, ...jwk }] }) ?? [];
    if (key === undefined)
      expect(valid).toBe(false); // a key that is not for signatures
    else if (valid) expect(Buffer.from(await es256Payload(jws, key.publicKey)).toString()).toBe('foo');
    else await expect(es256Payload(jws, key.publicKey)).rejects.toMatchObject(INVALID);
    // Whatever its signature: none of them is an access token (RFC 8725 §3.11).
    await expect(verifierOf(jwk).verify(jws)).rejects.toMatchObject(INVALID);
  });
});

describe('tokens that verifiers of other algorithms accept, those of RFC 7520 §4 among them', () => {
  const [{ jwk } = { jwk: {} }] = vectors.p256;
  it.each(vectors.others)('are refused: $name $id ($alg)', async ({ jws }) => {
    const [key] = parseJwks({ keys: [{ kid: KID, ...jwk }] }) ?? [];
    if (key === undefined) throw new Error('the key of the vectors was not read');
    await expect(es256Payload(jws, key.publicKey)).rejects.toMatchObject(INVALID);
    await expect(verifierOf(jwk).verify(jws)).rejects.toMatchObject(INVALID);
  });
});

describe('RFC 7515, appendix A.3', () => {
  const { jwk, d, jws } = vectors.rfc7515A3;

  it('holds: the token verifies with its key', async () => {
    const [key] = parseJwks({ keys: [{ kid: KID, ...jwk }] }) ?? [];
    if (key === undefined) throw new Error('the key was not read');
    expect(JSON.parse(Buffer.from(await es256Payload(jws, key.publicKey)).toString())).toMatchObject({ iss: 'joe' });
  });

  it('is no access token; one that its key signs is', async () => {
    await expect(verifierOf(jwk).verify(jws)).rejects.toMatchObject(INVALID);
    const signing = await importSigningKey(KID, { ...jwk, d });
    const issuer = new AccessTokenIssuer(() => Promise.resolve(signing), clock, { ...EXPECTED, lifetimeSeconds: 900 });
    const token = await issuer.issue({ userId: 'u', email: 'a@azaion.com', role: 'Operator', sessionId: 's' });
    await expect(verifierOf(jwk).verify(token)).resolves.toMatchObject({ userId: 'u', role: 'Operator' });
  });
});
