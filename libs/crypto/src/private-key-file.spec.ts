import { Secret } from '@azaion/kernel';
import { CompactEncrypt } from 'jose';

import { generateP256KeyPair, type PrivateJwk } from './p256.js';
import { needsPassphrase, readPrivateKey, writePrivateKey } from './private-key-file.js';

const PASSPHRASE = new Secret('correct horse battery staple');
let key: PrivateJwk;
let protectedFile: string;

beforeAll(async () => {
  key = (await generateP256KeyPair()).privateJwk;
  protectedFile = await writePrivateKey({ kid: 'root-1', key: new Secret(key) }, PASSPHRASE);
});

describe('the file of a private key', () => {
  it('under a passphrase opens with it alone, and shows nothing of the key', async () => {
    expect(needsPassphrase(protectedFile)).toBe(true);
    expect(Buffer.from(protectedFile.split('.')[3] ?? '', 'base64url').includes(key.d)).toBe(false);
    expect(protectedFile).not.toContain(key.d);
    const read = await readPrivateKey(protectedFile, PASSPHRASE);
    expect([read.kid, read.key.reveal()]).toEqual(['root-1', key]);
    for (const other of [undefined, new Secret('correct horse battery stapl')])
      await expect(readPrivateKey(protectedFile, other)).rejects.toMatchObject({ code: 'keys.wrong-passphrase' });
  });

  it('makes every guess of the passphrase cost what OWASP asks for at least', () => {
    const header = JSON.parse(Buffer.from(protectedFile.split('.')[0] ?? '', 'base64url').toString()) as {
      p2c: number;
    };
    expect(header).toMatchObject({ alg: 'PBES2-HS512+A256KW', enc: 'A256GCM' });
    expect(header.p2c).toBeGreaterThanOrEqual(210_000);
  });

  it('without a passphrase is the key itself, for a file of mode 0600', async () => {
    const text = await writePrivateKey({ kid: 'root-1', key: new Secret(key) }, undefined);
    expect(JSON.parse(text)).toEqual({ ...key, kid: 'root-1' });
    expect(needsPassphrase(text)).toBe(false);
    expect((await readPrivateKey(text, undefined)).key.reveal()).toEqual(key);
  });

  it('with a changed character is refused', async () => {
    const parts = protectedFile.trim().split('.');
    for (const part of [0, 1, 4]) {
      const text = parts[part] ?? '';
      const changed = text.startsWith('A') ? `B${text.slice(1)}` : `A${text.slice(1)}`;
      const file = parts.map((each, at) => (at === part ? changed : each)).join('.');
      await expect(readPrivateKey(file, PASSPHRASE)).rejects.toMatchObject({ code: 'keys.wrong-passphrase' });
    }
  });

  it('that asks for another algorithm or for endless work is refused', async () => {
    const direct = await new CompactEncrypt(Buffer.from(JSON.stringify({ ...key, kid: 'x' })))
      .setProtectedHeader({ alg: 'dir', enc: 'A256GCM' })
      .encrypt(new Uint8Array(32));
    await expect(readPrivateKey(direct, new Secret('\0'.repeat(32)))).rejects.toMatchObject({ code: 'keys.invalid' });
    const [, ...rest] = protectedFile.trim().split('.');
    const header = {
      alg: 'PBES2-HS512+A256KW',
      enc: 'A256GCM',
      cty: 'jwk+json',
      p2c: 2 ** 31,
      p2s: 'AAAAAAAAAAAAAAAA',
    };
    const endless = [Buffer.from(JSON.stringify(header)).toString('base64url'), ...rest].join('.');
    await expect(readPrivateKey(endless, PASSPHRASE)).rejects.toMatchObject({ code: 'keys.wrong-passphrase' });
  });

  it.each([
    ['nothing', ''],
    ['no JSON', 'key'],
    ['null', 'null'],
    ['a public key', '{"kty":"EC","crv":"P-256","x":"a","y":"b","kid":"k"}'],
    ['a long file', ' '.repeat(20_000)],
  ])('that holds %s is refused', async (_case, text) => {
    await expect(readPrivateKey(text, undefined)).rejects.toMatchObject({ code: 'keys.invalid' });
  });

  it('that holds a key without an id, or halves that do not belong together, is refused', async () => {
    const other = (await generateP256KeyPair()).privateJwk;
    for (const content of [key, { ...key, d: other.d, kid: 'x' }, { ...key, kid: 'x', use: 'sig' }])
      await expect(readPrivateKey(JSON.stringify(content), undefined)).rejects.toMatchObject({ code: 'keys.invalid' });
  });
});
