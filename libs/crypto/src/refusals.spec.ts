import { createCipheriv, randomBytes, randomUUID } from 'node:crypto';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';

import { Secret, u32be } from '@azaion/kernel';

import {
  assertInScope,
  chunkHash,
  CRYPTO_ERRORS,
  type ChunkSecrets,
  CryptoError,
  type CryptoErrorCode,
  ephemeralRecipient,
  generateP256KeyPair,
  type GrantExpectation,
  type GrantToken,
  hpkeOpen,
  hpkeSeal,
  importSigningKey,
  importVerificationKey,
  KekRing,
  legacyDecrypt,
  MAX_KEKS,
  newRecipeKey,
  openChunk,
  openRecipeKey,
  openSegment,
  pointFromJwk,
  readPrivateKey,
  recipientThumbprint,
  sealChunk,
  sealRecipeKey,
  sealSegment,
  type SegmentPlace,
  signGrantToken,
  signKeyDocument,
  signStatement,
  splitLegacy,
  statementHash,
  StatementKeys,
  verifyGrantToken,
  verifyStatement,
  writePrivateKey,
} from './index.js';
import { signDocument } from './signed-document.js';
import { aStatement } from './testing/a-statement.js';

const pair = await generateP256KeyPair();
const key = await importSigningKey('key-1', pair.privateJwk);
const root = await importVerificationKey('key-1', pair.publicJwk);
const entry = { kid: 'key-1', alg: 'ES256', key: pair.publicJwk } as const;
const keyDocument = (keys = [entry]): Promise<string> => signKeyDocument({ version: 5, expiresAt: 1000, keys }, key);
const keys = await StatementKeys.verify(await keyDocument(), root, 0, 999);
const recipient = await ephemeralRecipient();
const stranger = await ephemeralRecipient();
const statement = aStatement({ scope: 'device:NX-1' });
const statementJws = await signStatement(statement, key);
const token: GrantToken = {
  grantId: randomUUID(),
  statementHash: statementHash(statementJws),
  rootHash: statement.rootHash,
  subject: randomUUID(),
  recipient: recipientThumbprint(recipient.point),
  issuedAt: 1,
  notAfter: 1000,
  latestVersion: 7,
  minVersion: 7,
  nonce: 'bm9uY2U',
  lease: false,
};

async function verifyGrant(part: Partial<GrantToken>, expected: Partial<GrantExpectation> = {}): Promise<GrantToken> {
  return verifyGrantToken(await signGrantToken({ ...token, ...part }, key), keys, {
    statement,
    statementJws,
    recipientPoint: recipient.point,
    nonce: token.nonce,
    nowSeconds: 999,
    ...expected,
  });
}

async function openRecipe(recipeKeyBytes: number, rootHash: string): Promise<Uint8Array> {
  const sealed = await sealRecipeKey(
    randomBytes(recipeKeyBytes),
    Buffer.from(statement.rootHash, 'hex'),
    recipient.point,
    'token',
  );
  return openRecipeKey(sealed, recipient.point, recipient.ecdh, 'token', rootHash);
}

const plaintext = Buffer.alloc(100, 7);
const secrets: ChunkSecrets = { h: chunkHash(plaintext), key: randomBytes(32), plaintextBytes: plaintext.length };

/** What a newer release may make. */
function chunkOfCodec(codec: number): Buffer {
  const nonce = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', secrets.key, nonce);
  cipher.setAAD(
    Buffer.concat([Buffer.from('azaion-chunk-v2'), Uint8Array.of(codec), secrets.h, u32be(secrets.plaintextBytes)]),
  );
  return Buffer.concat([Uint8Array.of(codec), nonce, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
}

const ring = new KekRing([randomBytes(32)]);
const place: SegmentPlace = {
  folderId: randomBytes(16),
  resourceId: randomBytes(16),
  version: 1,
  kind: 'root',
  index: 0,
  last: true,
};
const passphrase = new Secret('correct horse');
const offCurve = { ...pair.publicJwk, y: pair.publicJwk.x };

interface Refusal {
  readonly what: string;
  readonly code: CryptoErrorCode;
  readonly act: () => unknown;
}

/** Refusals that follow from nothing else. */
const REFUSALS: readonly Refusal[] = [
  { what: 'a forged grant', code: 'grant.invalid', act: () => verifyGrant({ grantId: '' }) },
  {
    what: 'a grant of another version',
    code: 'grant.not-for-statement',
    act: () => verifyGrant({ rootHash: 'cd'.repeat(32) }),
  },
  {
    what: 'a grant for another key',
    code: 'grant.foreign-recipient',
    act: () => verifyGrant({}, { recipientPoint: stranger.point }),
  },
  {
    what: 'the answer to another request',
    code: 'grant.wrong-nonce',
    act: () => verifyGrant({}, { nonce: 'b3RoZXI' }),
  },
  { what: 'a grant that is no lease', code: 'grant.expired', act: () => verifyGrant({}, { nonce: undefined }) },
  { what: 'a grant that is over', code: 'grant.expired', act: () => verifyGrant({}, { nowSeconds: 1000 }) },
  { what: 'a grant of a withdrawn version', code: 'grant.withdrawn', act: () => verifyGrant({ minVersion: 8 }) },
  { what: 'a sealed key of another length', code: 'grant.invalid', act: () => openRecipe(31, statement.rootHash) },
  {
    what: 'the sealed key of another version',
    code: 'grant.not-for-statement',
    act: () => openRecipe(32, 'cd'.repeat(32)),
  },
  {
    what: 'a key document without keys',
    code: 'key-document.invalid',
    act: async () => StatementKeys.verify(await keyDocument([]), root, 0, 1),
  },
  {
    what: 'an older key document',
    code: 'key-document.rollback',
    act: async () => StatementKeys.verify(await keyDocument(), root, 6, 1),
  },
  {
    what: 'a key document that is over',
    code: 'key-document.expired',
    act: async () => StatementKeys.verify(await keyDocument(), root, 0, 1000),
  },
  {
    what: 'a statement by an unknown key',
    code: 'statement.key-unknown',
    act: async () => verifyStatement(await signStatement(statement, { ...key, kid: 'key-2' }), keys),
  },
  {
    what: 'a forged statement',
    code: 'statement.invalid',
    act: async () => verifyStatement(await signDocument({}, 'azaion-statement+jws', key), keys),
  },
  { what: 'the version of another device', code: 'statement.scope', act: () => assertInScope(statement, 'NX-2') },
  {
    what: 'a wrapped key that is too short',
    code: 'keys.wrapped-invalid',
    act: () => ring.unwrap('recipe', 'row', new Uint8Array(9)),
  },
  {
    what: 'a key wrapped under another',
    code: 'keys.wrapped-invalid',
    act: async () =>
      ring.unwrap('recipe', 'row', await new KekRing([randomBytes(32)]).wrap('recipe', 'row', plaintext)),
  },
  { what: 'a coordinate of no length', code: 'keys.invalid', act: () => pointFromJwk({ ...pair.publicJwk, x: '' }) },
  { what: 'the file of no private key', code: 'keys.invalid', act: () => readPrivateKey('', undefined) },
  {
    what: 'a chunk of another content',
    code: 'chunk.invalid',
    act: () => openChunk(sealChunk(Buffer.alloc(100, 8), secrets), secrets),
  },
  {
    what: 'a chunk of a newer release',
    code: 'chunk.unsupported-codec',
    act: () => openChunk(chunkOfCodec(9), secrets),
  },
  {
    what: 'a legacy content that is cut',
    code: 'legacy.invalid',
    act: () => pipeline(Readable.from([Buffer.alloc(20)]), legacyDecrypt(randomBytes(32)), buffer),
  },
  {
    what: 'a legacy content that is shorter than its small part',
    code: 'legacy.invalid',
    act: () => splitLegacy(Readable.from([]), 1),
  },
];

/** Refusals that follow from what another function said. */
const CONSEQUENCES: readonly Refusal[] = [
  {
    what: 'a key sealed to somebody else',
    code: 'grant.invalid',
    act: async () =>
      hpkeOpen(await hpkeSeal(plaintext, stranger.point, plaintext), recipient.point, recipient.ecdh, plaintext),
  },
  {
    what: 'sealing to no point',
    code: 'grant.foreign-recipient',
    act: () => hpkeSeal(plaintext, new Uint8Array(65), plaintext),
  },
  {
    what: 'a key document with a key off the curve',
    code: 'key-document.invalid',
    act: async () => StatementKeys.verify(await keyDocument([{ ...entry, key: offCurve }]), root, 0, 1),
  },
  {
    what: 'a wrapped key of another row',
    code: 'keys.wrapped-invalid',
    act: async () => ring.unwrap('recipe', 'row', await ring.wrap('recipe', 'other', plaintext)),
  },
  { what: 'a key off the curve', code: 'keys.invalid', act: () => pointFromJwk(offCurve) },
  {
    what: 'a private key that is zero',
    code: 'keys.invalid',
    act: () => importSigningKey('1', { ...pair.privateJwk, d: Buffer.alloc(32).toString('base64url') }),
  },
  {
    what: 'a private key under another passphrase',
    code: 'keys.wrong-passphrase',
    act: async () =>
      readPrivateKey(await writePrivateKey({ kid: '1', key: new Secret(pair.privateJwk) }, passphrase), undefined),
  },
  {
    what: 'a chunk with another tag',
    code: 'chunk.invalid',
    act: () => openChunk(sealChunk(plaintext, secrets), { ...secrets, key: randomBytes(32) }),
  },
  {
    what: 'a segment in another place',
    code: 'segment.invalid',
    act: () => {
      const recipeKey = newRecipeKey();
      openSegment(sealSegment(plaintext, recipeKey, place), recipeKey, { ...place, index: 1 });
    },
  },
];

const refusalOf = async (act: () => unknown): Promise<unknown> =>
  Promise.resolve()
    .then(act)
    .then(
      () => undefined,
      (error: unknown) => error,
    );

describe('a refusal', () => {
  it.each([...REFUSALS, ...CONSEQUENCES])('of $what has its code, and a sentence for people', async ({ code, act }) => {
    const refusal = await refusalOf(act);
    expect(refusal).toBeInstanceOf(CryptoError);
    expect(refusal).toMatchObject({ code, message: expect.stringMatching(/^[A-Z].{15,}\.$/) as string });
  });

  it.each(REFUSALS)('of $what has no cause', async ({ act }) => {
    expect(await refusalOf(act)).not.toHaveProperty('cause');
  });

  it.each(CONSEQUENCES)('of $what keeps its cause for the log', async ({ act }) => {
    expect(await refusalOf(act)).toHaveProperty('cause.message', expect.any(String));
  });

  it('is possible with every code but that of the key file, which is read elsewhere', () => {
    const codes = new Set([...REFUSALS, ...CONSEQUENCES].map(({ code }) => code));
    expect([...codes, 'keys.kek-invalid'].sort()).toEqual(Object.keys(CRYPTO_ERRORS).sort());
  });

  it('of a chunk of a newer release says which codec it needs', async () => {
    expect(await refusalOf(() => openChunk(chunkOfCodec(9), secrets))).toMatchObject({ details: { codec: 9 } });
  });
});

describe('a mistake of the calling code', () => {
  const twice = randomBytes(32);

  it.each<[string, () => unknown]>([
    ['a key-encryption key of 31 bytes', () => new KekRing([randomBytes(31)])],
    ['no key-encryption key', () => new KekRing([])],
    ['too many', () => new KekRing(Array.from({ length: MAX_KEKS + 1 }, () => randomBytes(32)))],
    ['one twice', () => new KekRing([twice, twice])],
    ['a chunk of no length', () => sealChunk(new Uint8Array(0), secrets)],
    ['too little room', () => sealChunk(plaintext, secrets, new Uint8Array(1))],
    [
      'an id of another length',
      () => sealSegment(plaintext, newRecipeKey(), { ...place, folderId: new Uint8Array(1) }),
    ],
    ['a document that is too long', () => signDocument({ a: 'a'.repeat(1_000_000) }, 'test+jws', key)],
  ])('is called by its name: %s', async (_, act) => {
    const mistake = await refusalOf(act);
    expect(mistake).toBeInstanceOf(RangeError);
    expect(mistake).toMatchObject({ message: expect.stringMatching(/^[a-z].{15,}[^.]$/) as string });
  });
});
