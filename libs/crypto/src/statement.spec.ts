import { StatementKeys, signKeyDocument } from './key-document.js';
import { generateP256KeyPair, importSigningKey, importVerificationKey } from './p256.js';
import { assertInScope, signStatement, type Statement, statementHash, verifyStatement } from './statement.js';
import { aStatement } from './testing/a-statement.js';

const { privateJwk, publicJwk } = await generateP256KeyPair();
const signingKey = await importSigningKey('key-1', privateJwk);
const keys = await StatementKeys.verify(
  await signKeyDocument(
    { version: 1, expiresAt: 2, keys: [{ kid: 'key-1', alg: 'ES256', key: publicJwk }] },
    signingKey,
  ),
  await importVerificationKey('key-1', publicJwk),
  0,
  1,
);
const DIGEST = `sha256:${'0f'.repeat(32)}`;
const IMAGE = { reference: 'azaion/detections:1.4.0', configDigest: DIGEST, manifestDigest: DIGEST };
const FILE = aStatement({ version: 1, totalBytes: 0 });

async function verified(part: object): Promise<Statement> {
  return verifyStatement(await signStatement({ ...FILE, ...part }, signingKey), keys);
}

describe('verifyStatement', () => {
  it.each([
    {},
    { version: 0xffff_ffff },
    { totalBytes: Number.MAX_SAFE_INTEGER },
    { scope: 'device:NX-0001.a_b' },
    { scope: `device:${'d'.repeat(64)}` },
    { kind: 'images', images: [] },
    { kind: 'images', images: [IMAGE, { ...IMAGE, manifestDigest: null }] },
  ])('accepts %j', async (part) => {
    expect(await verified(part)).toEqual({ ...FILE, ...part });
  });

  it.each([
    { version: 0 },
    { version: 2 ** 32 },
    { version: '1' },
    { kind: 'other' },
    { kind: 'images' },
    { kind: 'file', images: [] },
    { folder: '../models' },
    { resource: 'a/b' },
    { resource: '.hidden' },
    { folderId: FILE.folderId.toUpperCase() },
    { rootHash: 'AB'.repeat(32) },
    { rootHash: 'ab'.repeat(31) },
    { rootHash: `${'ab'.repeat(32)}\n` },
    { committedAt: 0 },
    { totalBytes: -1 },
    { scope: 'device:' },
    { scope: 'device:a/b' },
    { scope: `device:${'d'.repeat(65)}` },
    { scope: 'fleet ' },
    { kind: 'images', images: {} },
    { kind: 'images', images: [null] },
    { kind: 'images', images: ['text'] },
    { kind: 'images', images: [{ ...IMAGE, extra: 1 }] },
    { kind: 'images', images: [{ ...IMAGE, reference: '' }] },
    { kind: 'images', images: [{ ...IMAGE, reference: ['a'] }] },
    { kind: 'images', images: [{ ...IMAGE, reference: 'r'.repeat(513) }] },
    { kind: 'images', images: [{ ...IMAGE, configDigest: null }] },
    { kind: 'images', images: [{ ...IMAGE, configDigest: 'sha512:00' }] },
    { kind: 'images', images: [{ ...IMAGE, manifestDigest: '' }] },
  ])('refuses %j, though truly signed', async (part) => {
    await expect(verified(part)).rejects.toMatchObject({ code: 'statement.invalid' });
  });

  it('accepts 256 images, and not one more', async () => {
    const images = Array.from({ length: 257 }, () => ({ ...IMAGE, reference: 'r'.repeat(512) }));
    const most = { kind: 'images', images: images.slice(1) };
    expect(await verified(most)).toEqual({ ...FILE, ...most });
    const more = { kind: 'images', images: Array.from({ length: 257 }, () => IMAGE) };
    await expect(verified(more)).rejects.toMatchObject({ code: 'statement.invalid' });
  });
});

describe('statementHash', () => {
  it('is SHA-256 of the compact form (FIPS 180-4, "abc")', () => {
    expect(statementHash('abc')).toBe('ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
  });
});

describe('assertInScope', () => {
  it.each([
    ['fleet', undefined],
    ['fleet', 'NX-1'],
    ['device:NX-1', 'NX-1'],
  ])('lets a version of scope %s be used by %s', (scope, serial) => {
    expect(() => assertInScope({ ...FILE, scope }, serial)).not.toThrow();
  });

  it.each([
    ['device:NX-1', undefined],
    ['device:NX-1', 'NX-2'],
    ['device:NX-1', 'NX-'],
    ['device:NX-1', 'nx-1'],
    ['device:NX-1', 'fleet'],
  ])('keeps a version of scope %s from %s', (scope, serial) => {
    expect(() => assertInScope({ ...FILE, scope }, serial)).toThrow(
      expect.objectContaining({ code: 'statement.scope' }) as Error,
    );
  });
});
