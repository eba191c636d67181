import { generateKeyPairSync } from 'node:crypto';

import { generateP256KeyPair } from '@azaion/crypto';

import { MAX_JWKS_KEYS, parseJwks } from './jwks.js';

describe('parseJwks', () => {
  it('reads P-256 signature keys and skips keys of other kinds', async () => {
    const { publicJwk } = await generateP256KeyPair();
    const set = {
      keys: [
        { ...publicJwk, kid: 'a' },
        { ...publicJwk, kid: 'b', use: 'enc' },
        { ...publicJwk, kid: 'c', alg: 'ES384' },
        { ...publicJwk },
        { ...publicJwk, kid: 'g', key_ops: ['encrypt'] },
        { ...publicJwk, kid: 'h', key_ops: 'verify' },
        { kty: 'RSA', kid: 'd', n: 'AQAB', e: 'AQAB' },
        { ...publicJwk, kid: 'e', x: publicJwk.y },
        { ...publicJwk, kid: 'f', use: 'sig', alg: 'ES256', key_ops: ['verify'], more: 'ignored' },
      ],
    };
    expect(parseJwks(set)?.map(({ kid }) => kid)).toEqual(['a', 'f']);
  });

  it('skips keys on another curve, and those without a usable id', async () => {
    const { publicJwk } = await generateP256KeyPair();
    const onAnotherCurve = generateKeyPairSync('ec', { namedCurve: 'secp384r1' }).publicKey.export({ format: 'jwk' });
    const [longest, tooLong] = ['i'.repeat(128), 'i'.repeat(129)];
    const keys = [
      { ...onAnotherCurve, kid: 'a' },
      { ...publicJwk, kid: '' },
      { ...publicJwk, kid: 7 },
      { ...publicJwk, kid: tooLong },
      { ...publicJwk, kid: longest },
    ];
    expect(parseJwks({ keys })?.map(({ kid }) => kid)).toEqual([longest]);
  });

  it('refuses what is no key set, private members, equal ids and huge sets', async () => {
    const { publicJwk, privateJwk } = await generateP256KeyPair();
    const key = { ...publicJwk, kid: 'a' };
    const values: unknown[] = [
      null,
      [],
      'keys',
      {},
      { keys: {} },
      { keys: [] },
      { keys: [null] },
      { keys: [{ ...privateJwk, kid: 'a' }] },
      { keys: [key, { kty: 'oct', k: 'AAAA', kid: 'b' }] },
      { keys: [key, key] },
      { keys: Array.from({ length: MAX_JWKS_KEYS + 1 }, (_, at) => ({ ...publicJwk, kid: String(at) })) },
    ];
    for (const value of values) expect(parseJwks(value)).toBeUndefined();
  });
});
