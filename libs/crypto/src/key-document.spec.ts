import { type KeyDocument, signKeyDocument, StatementKeys } from './key-document.js';
import { generateP256KeyPair, importSigningKey, importVerificationKey } from './p256.js';
import { signDocument } from './signed-document.js';

const rootPair = await generateP256KeyPair();
const one = await generateP256KeyPair();
const two = await generateP256KeyPair();
const rootKey = await importSigningKey('root', rootPair.privateJwk);
const root = await importVerificationKey('root', rootPair.publicJwk);
const ENTRY = { kid: 'one', alg: 'ES256', key: one.publicJwk } as const;
const DOCUMENT: KeyDocument = { version: 5, expiresAt: 1000, keys: [ENTRY] };

async function verified(part: object, lowestVersion = 0, nowSeconds = 999): Promise<StatementKeys> {
  return StatementKeys.verify(
    await signKeyDocument({ ...DOCUMENT, ...part }, rootKey),
    root,
    lowestVersion,
    nowSeconds,
  );
}

describe('StatementKeys.verify', () => {
  it.each([0, 1, 4, 5])('accepts version 5 where %i was the highest', async (lowestVersion) => {
    expect(await verified({}, lowestVersion)).toMatchObject({ version: 5, expiresAt: 1000 });
  });

  it.each([6, 7, 1000])('refuses version 5 where %i was the highest', async (lowestVersion) => {
    await expect(verified({}, lowestVersion)).rejects.toMatchObject({ code: 'key-document.rollback' });
  });

  it.each([1000, 1001, 2 ** 40])('refuses a document of expiry 1000 at %i', async (nowSeconds) => {
    await expect(verified({}, 0, nowSeconds)).rejects.toMatchObject({ code: 'key-document.expired' });
  });

  it('refuses a document of another root, also one of the keys it names', async () => {
    for (const pair of [one, two]) {
      const jws = await signKeyDocument(DOCUMENT, await importSigningKey('root', pair.privateJwk));
      await expect(StatementKeys.verify(jws, root, 0, 1)).rejects.toMatchObject({ code: 'key-document.invalid' });
    }
  });

  it.each([
    { keys: Array.from({ length: 64 }, (_, at) => ({ ...ENTRY, kid: `key-${at}` })) },
    { keys: [{ ...ENTRY, kid: 'k'.repeat(128) }] },
  ])('accepts the largest documents', async (part) => {
    await expect(verified(part)).resolves.toBeDefined();
  });

  it.each<readonly [string, object]>([
    ['no key', { keys: [] }],
    ['no list of keys', { keys: {} }],
    ['65 keys', { keys: Array.from({ length: 65 }, (_, at) => ({ ...ENTRY, kid: `key-${at}` })) }],
    ['a key twice', { keys: [ENTRY, ENTRY] }],
    ['an id for two keys', { keys: [ENTRY, { ...ENTRY, key: two.publicJwk }] }],
    ['null for a key', { keys: [null] }],
    ['a text for a key', { keys: ['one'] }],
    ['a key with more to it', { keys: [{ ...ENTRY, use: 'sig' }] }],
    ['a key for no algorithm', { keys: [{ ...ENTRY, alg: 'none' }] }],
    ['a key for another algorithm', { keys: [{ ...ENTRY, alg: 'HS256' }] }],
    ['a key without an id', { keys: [{ ...ENTRY, kid: '' }] }],
    ['an id of 129 characters', { keys: [{ ...ENTRY, kid: 'k'.repeat(129) }] }],
    ['a number for an id', { keys: [{ ...ENTRY, kid: 1 }] }],
    ['a private key', { keys: [{ ...ENTRY, key: one.privateJwk }] }],
    ['a key on another curve', { keys: [{ ...ENTRY, key: { ...one.publicJwk, crv: 'P-384' } }] }],
    ['a key off the curve', { keys: [{ ...ENTRY, key: { ...one.publicJwk, y: two.publicJwk.y } }] }],
    ['version 0', { version: 0 }],
    ['version 1.5', { version: 1.5 }],
    ['expiry 0', { expiresAt: 0 }],
    ['more than a key document has', { more: 1 }],
  ])('refuses %s, though truly signed', async (_, part) => {
    await expect(verified(part)).rejects.toMatchObject({ code: 'key-document.invalid' });
  });
});

describe('StatementKeys.keyFor', () => {
  it('finds the key that a document names, and refuses an unknown one', async () => {
    const keys = await verified({ keys: [ENTRY, { ...ENTRY, kid: 'two', key: two.publicJwk }] });
    const sign = async (kid: string): Promise<string> =>
      signDocument({}, 'test+jws', await importSigningKey(kid, one.privateJwk));
    expect(keys.keyFor(await sign('two'), 'test+jws')?.kid).toBe('two');
    const unknown = await sign('root'); // the root signs key documents only
    expect(() => keys.keyFor(unknown, 'test+jws')).toThrow(
      expect.objectContaining({ code: 'statement.key-unknown' }) as Error,
    );
    expect(keys.keyFor('no document', 'test+jws')).toBeUndefined();
    expect([keys.has('two'), keys.has('root')]).toEqual([true, false]);
  });
});
