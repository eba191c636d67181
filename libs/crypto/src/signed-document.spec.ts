import { createHmac, randomUUID } from 'node:crypto';

import type { CryptoError } from './errors.js';
import { type GrantToken, recipientThumbprint, signGrantToken, verifyGrantToken } from './grant-token.js';
import { type KeyDocument, signKeyDocument, StatementKeys } from './key-document.js';
import { generateP256KeyPair, importSigningKey, importVerificationKey, type P256KeyPair, signRaw } from './p256.js';
import {
  documentKeyId,
  isPublicJwk,
  MAX_SIGNED_DOCUMENT_CHARS,
  signDocument,
  verifyDocument,
} from './signed-document.js';
import { signStatement, statementHash, verifyStatement } from './statement.js';
import { aStatement } from './testing/a-statement.js';

const NOW_SECONDS = 1_790_000_000;
const KID = 'key-1';
const pair = await generateP256KeyPair();
const stranger = await generateP256KeyPair();
const recipient = await generateP256KeyPair();
const signingKey = await importSigningKey(KID, pair.privateJwk);
const root = await importVerificationKey(KID, pair.publicJwk);

const statement = aStatement({ totalBytes: 10_000_000, committedAt: NOW_SECONDS - 100 });
const keyDocument: KeyDocument = {
  version: 3,
  expiresAt: NOW_SECONDS + 1000,
  keys: [{ kid: KID, alg: 'ES256', key: pair.publicJwk }],
};
const statementJws = await signStatement(statement, signingKey);
const grantToken: GrantToken = {
  grantId: randomUUID(),
  statementHash: statementHash(statementJws),
  rootHash: statement.rootHash,
  subject: randomUUID(),
  recipient: recipientThumbprint(recipient.point),
  issuedAt: NOW_SECONDS,
  notAfter: NOW_SECONDS + 1000,
  latestVersion: 7,
  minVersion: 1,
  nonce: 'bm9uY2Utbm9uY2U',
  lease: true,
};
const keys = await StatementKeys.verify(await signKeyDocument(keyDocument, signingKey), root, 0, NOW_SECONDS);

interface DocumentCase {
  readonly name: string;
  readonly typ: string;
  readonly payload: object;
  readonly signed: string;
  readonly invalid: string;
  /** What a signature by a key that nobody named is refused with. */
  readonly unknownKey: string;
  readonly verify: (jws: string) => Promise<unknown>;
}

const documents: readonly DocumentCase[] = [
  {
    name: 'statement',
    typ: 'azaion-statement+jws',
    payload: statement,
    signed: statementJws,
    invalid: 'statement.invalid',
    unknownKey: 'statement.key-unknown',
    verify: async (jws) => verifyStatement(jws, keys),
  },
  {
    name: 'grant token',
    typ: 'azaion-grant+jws',
    payload: grantToken,
    signed: await signGrantToken(grantToken, signingKey),
    invalid: 'grant.invalid',
    unknownKey: 'statement.key-unknown',
    verify: async (jws) =>
      verifyGrantToken(jws, keys, {
        statement,
        statementJws,
        recipientPoint: recipient.point,
        nonce: grantToken.nonce,
        nowSeconds: NOW_SECONDS,
      }),
  },
  {
    name: 'key document',
    typ: 'azaion-keys+jws',
    payload: keyDocument,
    signed: await signKeyDocument(keyDocument, signingKey),
    invalid: 'key-document.invalid',
    unknownKey: 'key-document.invalid',
    verify: async (jws) => StatementKeys.verify(jws, root, 0, NOW_SECONDS),
  },
];

function b64(text: string | Uint8Array): string {
  return Buffer.from(text).toString('base64url');
}

/** A JWS made by hand over any header and payload text, with a true ES256 signature unless told otherwise. */
function forge(header: object | string, payload: string, by: P256KeyPair = pair, signature?: Uint8Array): string {
  const input = `${b64(typeof header === 'string' ? header : JSON.stringify(header))}.${b64(payload)}`;
  return `${input}.${b64(signature ?? signRaw(by.privateJwk, Buffer.from(input)))}`;
}

function refused(code: string): object {
  return expect.objectContaining({ code }) as object;
}

describe.each(documents)('verifying a $name', ({ typ, payload, signed, invalid, unknownKey, verify }) => {
  const header = { alg: 'ES256', kid: KID, typ };
  const text = JSON.stringify(payload);

  it('accepts what was signed, also when it was put together by hand', async () => {
    await expect(verify(signed)).resolves.toBeDefined();
    await expect(verify(forge(header, text))).resolves.toBeDefined();
  });

  it('refuses every change of a single bit in the text', async () => {
    const twins = Array.from({ length: 7 * signed.length }, (_, bit) => {
      const changed = Buffer.from(signed);
      changed[Math.floor(bit / 7)]! ^= 1 << (bit % 7);
      return changed.toString('latin1');
    });
    const outcomes = await Promise.all(
      twins.map(async (twin) =>
        verify(twin).then(
          () => 'accepted',
          (error: unknown) => (error as CryptoError).code,
        ),
      ),
    );
    // A changed kid names a key that nobody knows.
    expect([...new Set([...outcomes, invalid, unknownKey])].sort()).toEqual([...new Set([invalid, unknownKey])].sort());
  });

  it.each([
    ['alg none without a signature', (): string => `${b64(JSON.stringify({ ...header, alg: 'none' }))}.${b64(text)}.`],
    ['alg none with one', () => forge({ ...header, alg: 'none' }, text)],
    ['alg ES384', () => forge({ ...header, alg: 'ES384' }, text)],
    ['no alg', () => forge({ kid: KID, typ }, text)],
    ['another typ', () => forge({ ...header, typ: 'at+jwt' }, text)],
    ['the typ in capitals', () => forge({ ...header, typ: typ.toUpperCase() }, text)],
    ['no typ', () => forge({ alg: 'ES256', kid: KID }, text)],
    ['no kid', () => forge({ alg: 'ES256', typ }, text)],
    ['an empty kid', () => forge({ ...header, kid: '' }, text)],
    ['a kid that is no text', () => forge({ ...header, kid: 1 }, text)],
    ['a very long kid', () => forge({ ...header, kid: 'k'.repeat(129) }, text)],
    ['crit', () => forge({ ...header, crit: ['exp'], exp: 1 }, text)],
    ['an empty crit', () => forge({ ...header, crit: [] }, text)],
    ['b64', () => forge({ ...header, b64: true }, text)],
    ['jku', () => forge({ ...header, jku: 'https://attacker.example/keys' }, text)],
    ['x5u', () => forge({ ...header, x5u: 'https://attacker.example/chain' }, text)],
    ['an embedded jwk', () => forge({ ...header, jwk: stranger.publicJwk }, text, stranger)],
    ['header members in another order', () => forge({ typ, kid: KID, alg: 'ES256' }, text)],
    ['a header member given twice', () => forge(`{"alg":"none",${JSON.stringify(header).slice(1)}`, text)],
    ['a header with spaces', () => forge(JSON.stringify(header, null, 1), text)],
    ['a header that is no object', () => forge('"text"', text)],
    ['a signature by another key', () => forge(header, text, stranger)],
    ['an empty signature', () => forge(header, text, pair, new Uint8Array(0))],
    ['a signature of zeros', () => forge(header, text, pair, new Uint8Array(64))],
    ['a payload that is no JSON', () => forge(header, 'text')],
    ['a payload that is null', () => forge(header, 'null')],
    ['a payload that is a list', () => forge(header, '[]')],
    ['a payload that is a text', () => forge(header, '"text"')],
    ['a payload with spaces', () => forge(header, JSON.stringify(payload, null, 1))],
    ['a byte order mark', () => forge(header, `\uFEFF${text}`)],
    ['a member given twice', () => forge(header, `{"version":1,${text.slice(1)}`)],
    ['a further member', () => forge(header, `${text.slice(0, -1)},"extra":1}`)],
    ['a __proto__ member', () => forge(header, `${text.slice(0, -1)},"__proto__":{}}`)],
    ['trailing text in the payload', () => forge(header, `${text} `)],
    ['padding', () => `${signed}=`],
    ['space around', () => ` ${signed}`],
    ['a line end', () => `${signed}\n`],
    ['two parts', () => signed.split('.').slice(0, 2).join('.')],
    ['four parts', () => `${signed}.`],
    ['an empty text', () => ''],
    ['a detached payload', () => signed.replace(/\..*\./, '..')],
    ['a text that is too long', () => forge(header, JSON.stringify({ a: 'a'.repeat(MAX_SIGNED_DOCUMENT_CHARS) }))],
  ])('refuses %s', async (_name, make) => {
    await expect(verify(make())).rejects.toEqual(refused(invalid));
  });

  it('refuses HS256 keyed with the public key in any of its forms', async () => {
    const forms = [JSON.stringify(pair.publicJwk), pair.point, b64(pair.point), pair.publicJwk.x];
    for (const alg of ['HS256', 'ES256'])
      for (const form of forms) {
        const input = `${b64(JSON.stringify({ ...header, alg }))}.${b64(text)}`;
        const mac = createHmac('sha256', form).update(input).digest();
        await expect(verify(`${input}.${b64(mac)}`)).rejects.toEqual(refused(invalid));
      }
  });

  it('refuses loose trailing bits, though the decoded signature is the same', async () => {
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
    // The last of the 86 characters of 64 bytes carries 2 bits of the signature and 4 loose ones.
    const last = alphabet.indexOf(signed.at(-1) ?? '');
    for (let loose = 1; loose < 16; loose += 1) {
      const twin = signed.slice(0, -1) + alphabet.charAt(last ^ loose);
      expect(Buffer.from(twin.split('.')[2]!, 'base64url')).toEqual(Buffer.from(signed.split('.')[2]!, 'base64url'));
      await expect(verify(twin)).rejects.toEqual(refused(invalid));
    }
  });

  it('refuses an unknown kid, also when its owner signed truly', async () => {
    await expect(verify(forge({ ...header, kid: 'key-2' }, text, stranger))).rejects.toEqual(refused(unknownKey));
    await expect(verify(forge({ ...header, kid: '__proto__' }, text, stranger))).rejects.toEqual(refused(unknownKey));
  });

  it('refuses each of the other documents in its place', async () => {
    for (const other of documents.filter((candidate) => candidate.typ !== typ)) {
      await expect(verify(other.signed)).rejects.toEqual(refused(invalid));
      await expect(verify(forge(header, JSON.stringify(other.payload)))).rejects.toEqual(refused(invalid));
    }
  });

  it('refuses each member missing, null, or of another type', async () => {
    for (const name of Object.keys(payload)) {
      const { [name]: original, ...rest } = payload as Record<string, unknown>;
      const others = typeof original === 'boolean' ? [null, 'true', 1] : [null, true, {}, [], '', -1, 1.5, 2 ** 53];
      await expect(verify(forge(header, JSON.stringify(rest)))).rejects.toEqual(refused(invalid));
      for (const value of others)
        await expect(verify(forge(header, JSON.stringify({ ...payload, [name]: value })))).rejects.toBeInstanceOf(
          Error,
        );
    }
  });
});

describe('signDocument', () => {
  it('signs the longest document that a verifier takes, and none that is longer', async () => {
    const signed = async (chars: number): Promise<string> =>
      signDocument({ a: 'a'.repeat(chars) }, 'test+jws', signingKey);
    // Three characters of the payload are four of the document.
    const longest = Math.floor(((MAX_SIGNED_DOCUMENT_CHARS - (await signed(0)).length) * 3) / 4);
    const payload = { a: 'a'.repeat(longest) };
    const jws = await signed(longest);
    expect(jws).toHaveLength(MAX_SIGNED_DOCUMENT_CHARS);
    expect(await verifyDocument(jws, 'test+jws', root)).toEqual(payload);
    await expect(signed(longest + 1)).rejects.toThrow(RangeError);
  });
});

describe('documentKeyId', () => {
  it('reads the kid of a document of the stated type only', async () => {
    const jws = await signDocument({}, 'test+jws', signingKey);
    expect(documentKeyId(jws, 'test+jws')).toBe(KID);
    expect(documentKeyId(jws, 'other+jws')).toBeUndefined();
    expect(documentKeyId('', 'test+jws')).toBeUndefined();
  });
});

describe('verifyDocument', () => {
  it('verifies nothing without a key or with a key of another id', async () => {
    const jws = await signDocument({ one: 1 }, 'test+jws', signingKey);
    expect(await verifyDocument(jws, 'test+jws', root)).toEqual({ one: 1 });
    expect(await verifyDocument(jws, 'test+jws', undefined)).toBeUndefined();
    expect(await verifyDocument(jws, 'test+jws', { ...root, kid: 'key-2' })).toBeUndefined();
  });

  it('refuses a payload that is not UTF-8', async () => {
    const input = `${b64(JSON.stringify({ alg: 'ES256', kid: KID, typ: 'test+jws' }))}.${b64(Uint8Array.of(0x22, 0xff, 0x22))}`;
    const jws = `${input}.${b64(signRaw(pair.privateJwk, Buffer.from(input)))}`;
    expect(await verifyDocument(jws, 'test+jws', root)).toBeUndefined();
  });
});

describe('isPublicJwk', () => {
  it('accepts a P-256 key and nothing more', () => {
    const { publicJwk, privateJwk } = pair;
    expect(isPublicJwk(publicJwk)).toBe(true);
    for (const no of [
      null,
      'key',
      privateJwk,
      { ...publicJwk, kid: '1' },
      { ...publicJwk, kty: 'OKP' },
      { ...publicJwk, crv: 'P-384' },
      { ...publicJwk, x: 1 },
      { ...publicJwk, y: `${publicJwk.y}=` },
      { ...publicJwk, x: publicJwk.x.slice(1) },
    ])
      expect(isPublicJwk(no)).toBe(false);
  });
});
