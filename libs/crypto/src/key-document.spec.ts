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

  it.each([
    { keys: [] },
    { keys: {} },
    { keys: Array.from({ length: 65 }, (_, at) => ({ ...ENTRY, kid: `key-${at}` })) },
    { keys: [ENTRY, ENTRY] },
    { keys: [ENTRY, { ...ENTRY, key: two.publicJwk }] },
    { keys: [null] },
    { keys: ['one'] },
    { keys: [{ ...ENTRY, use: 'sig' }] },
    { keys: [{ ...ENTRY, alg: 'none' }] },
    { keys: [{ ...ENTRY, alg: 'HS256' }] },
    { keys: [{ ...ENTRY, kid: '' }] },
    { keys: [{ ...ENTRY, kid: 'k'.repeat(129) }] },
    { keys: [{ ...ENTRY, kid: 1 }] },
    { keys: [{ ...ENTRY, key: one.privateJwk }] },
    { keys: [{ ...ENTRY, key: { ...one.publicJwk, crv: 'P-384' } }] },
    { keys: [{ ...ENTRY, key: { ...one.publicJwk, y: two.publicJwk.y } }] }, // off the curve
    { version: 0 },
    { version: 1.5 },
    { expiresAt: 0 },
  ])('refuses %j, though truly signed', async (part) => {
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
