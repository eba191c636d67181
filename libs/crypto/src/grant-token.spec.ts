import { randomBytes, randomUUID } from 'node:crypto';

import {
  type GrantExpectation,
  type GrantToken,
  openRecipeKey,
  readGrantToken,
  recipientThumbprint,
  sealRecipeKey,
  signGrantToken,
  verifyGrantToken,
} from './grant-token.js';
import { hpkeSeal } from './hpke.js';
import { signKeyDocument, StatementKeys } from './key-document.js';
import { ephemeralRecipient, generateP256KeyPair, importSigningKey, importVerificationKey } from './p256.js';
import { signStatement, statementHash } from './statement.js';
import { aStatement } from './testing/a-statement.js';

const NOW_SECONDS = 1_790_000_000;
const { privateJwk, publicJwk } = await generateP256KeyPair();
const signingKey = await importSigningKey('key-1', privateJwk);
const keys = await StatementKeys.verify(
  await signKeyDocument(
    { version: 1, expiresAt: NOW_SECONDS + 1, keys: [{ kid: 'key-1', alg: 'ES256', key: publicJwk }] },
    signingKey,
  ),
  await importVerificationKey('key-1', publicJwk),
  0,
  NOW_SECONDS,
);
const recipient = await ephemeralRecipient();
const statement = aStatement({ committedAt: NOW_SECONDS - 100 });
const statementJws = await signStatement(statement, signingKey);
const TOKEN: GrantToken = {
  grantId: randomUUID(),
  statementHash: statementHash(statementJws),
  rootHash: statement.rootHash,
  subject: randomUUID(),
  recipient: recipientThumbprint(recipient.point),
  issuedAt: NOW_SECONDS,
  notAfter: NOW_SECONDS + 1000,
  latestVersion: 9,
  minVersion: 7,
  nonce: 'bm9uY2Utbm9uY2U',
  lease: true,
};
const EXPECTED: GrantExpectation = {
  statement,
  statementJws,
  recipientPoint: recipient.point,
  nonce: TOKEN.nonce,
  nowSeconds: NOW_SECONDS,
};

async function verified(part: Partial<GrantToken>, expected: Partial<GrantExpectation> = {}): Promise<GrantToken> {
  return verifyGrantToken(await signGrantToken({ ...TOKEN, ...part }, signingKey), keys, { ...EXPECTED, ...expected });
}

describe('readGrantToken', () => {
  const read = async (part: object): Promise<GrantToken> =>
    readGrantToken(await signGrantToken({ ...TOKEN, ...part }, signingKey), keys);
  const texts = ['grantId', 'subject', 'nonce'];
  const hashes = ['statementHash', 'rootHash', 'recipient'];
  const counts = ['issuedAt', 'notAfter', 'latestVersion', 'minVersion'];
  const each = (names: readonly string[], ...values: readonly unknown[]): object[] =>
    names.flatMap((name) => values.map((value) => ({ [name]: value })));

  it.each([
    {},
    { pinned: true },
    { lease: false },
    ...each(texts, 'a', 'a'.repeat(128)),
    ...each(hashes, '0f'.repeat(32)),
    ...each(counts, 0, 2 ** 53 - 1),
  ])('reads a token with %p', async (part) => {
    expect(await read(part)).toEqual({ ...TOKEN, ...part });
  });

  it.each([
    { more: 1 },
    ...each(texts, '', 'a'.repeat(129), 7, null, undefined, ['a']),
    ...each(hashes, '', '0F'.repeat(32), '0f'.repeat(31), `${'0f'.repeat(32)}0`, 7, null, undefined, ['0f'.repeat(32)]),
    ...each(counts, -1, 0.5, 2 ** 53, '1', null, undefined),
    ...each(['lease'], 1, 'true', null, undefined),
    ...each(['pinned'], false, 1, 'true', null),
  ])('refuses one with %p, though truly signed', async (part) => {
    await expect(read(part)).rejects.toMatchObject({ code: 'grant.invalid' });
  });
});

describe('verifyGrantToken', () => {
  it('accepts a grant for this request, and a lease without one', async () => {
    expect(await verified({})).toEqual(TOKEN);
    expect(await verified({ lease: false })).toMatchObject({ lease: false });
    expect(await verified({}, { nonce: undefined })).toEqual(TOKEN);
  });

  it('refuses a grant for another key', async () => {
    const { point } = await ephemeralRecipient();
    await expect(verified({}, { recipientPoint: point })).rejects.toMatchObject({ code: 'grant.foreign-recipient' });
    await expect(verified({ recipient: recipientThumbprint(point) })).rejects.toMatchObject({
      code: 'grant.foreign-recipient',
    });
  });

  it('refuses the answer to another request', async () => {
    await expect(verified({ nonce: 'b3RoZXI' })).rejects.toMatchObject({ code: 'grant.wrong-nonce' });
    await expect(verified({}, { nonce: '' })).rejects.toMatchObject({ code: 'grant.wrong-nonce' });
  });

  it.each([1000, 1001, 2 ** 40])('refuses a grant of 1000 seconds after %i', async (passedSeconds) => {
    for (const nonce of [TOKEN.nonce, undefined])
      await expect(verified({}, { nonce, nowSeconds: NOW_SECONDS + passedSeconds })).rejects.toMatchObject({
        code: 'grant.expired',
      });
  });

  it('accepts it until then', async () => {
    await expect(verified({}, { nowSeconds: NOW_SECONDS + 999 })).resolves.toEqual(TOKEN);
  });

  it('refuses a grant that is no lease where there was no request', async () => {
    await expect(verified({ lease: false }, { nonce: undefined })).rejects.toMatchObject({ code: 'grant.expired' });
  });

  it('refuses the grant of another version', async () => {
    const older = await signStatement({ ...statement, version: 6 }, signingKey);
    await expect(verified({ statementHash: statementHash(older) })).rejects.toMatchObject({
      code: 'grant.not-for-statement',
    });
    await expect(verified({}, { statementJws: older })).rejects.toMatchObject({ code: 'grant.not-for-statement' });
    await expect(verified({ rootHash: 'cd'.repeat(32) })).rejects.toMatchObject({ code: 'grant.not-for-statement' });
  });

  it.each([
    [6, true],
    [7, true],
    [8, false],
    [100, false],
  ])('judges version 7 where %i is the lowest one allowed', async (minVersion, allowed) => {
    if (allowed) await expect(verified({ minVersion })).resolves.toBeDefined();
    else await expect(verified({ minVersion })).rejects.toMatchObject({ code: 'grant.withdrawn' });
  });
});

describe('sealRecipeKey and openRecipeKey', () => {
  const recipeKey = randomBytes(32);
  const rootHash = Buffer.from(statement.rootHash, 'hex');

  it('carry the key to its recipient', async () => {
    const sealed = await sealRecipeKey(recipeKey, rootHash, recipient.point, 'token');
    const opened = await openRecipeKey(sealed, recipient.point, recipient.ecdh, 'token', statement.rootHash);
    expect(Buffer.from(opened).equals(recipeKey)).toBe(true);
  });

  it('keep it from everyone else, and from another grant token', async () => {
    const sealed = await sealRecipeKey(recipeKey, rootHash, recipient.point, 'token');
    const other = await ephemeralRecipient();
    const open = openRecipeKey;
    for (const opening of [
      async () => open(sealed, other.point, other.ecdh, 'token', statement.rootHash),
      async () => open(sealed, recipient.point, other.ecdh, 'token', statement.rootHash),
      async () => open(sealed, other.point, recipient.ecdh, 'token', statement.rootHash),
      async () => open(sealed, recipient.point, recipient.ecdh, 'token2', statement.rootHash),
    ])
      await expect(opening()).rejects.toMatchObject({ code: 'grant.invalid' });
  });

  it('refuse the key of another version', async () => {
    const sealed = await sealRecipeKey(recipeKey, randomBytes(32), recipient.point, 'token');
    await expect(
      openRecipeKey(sealed, recipient.point, recipient.ecdh, 'token', statement.rootHash),
    ).rejects.toMatchObject({ code: 'grant.not-for-statement' });
  });

  it.each([0, 32, 63, 65])('refuse %i sealed bytes', async (sizeBytes) => {
    const aad = Buffer.from(statementHash('token'), 'hex');
    const sealed = await hpkeSeal(Buffer.alloc(sizeBytes), recipient.point, aad);
    await expect(
      openRecipeKey(sealed, recipient.point, recipient.ecdh, 'token', statement.rootHash),
    ).rejects.toMatchObject({ code: 'grant.invalid' });
  });
});
