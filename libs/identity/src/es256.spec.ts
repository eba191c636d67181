import { createPublicKey, generateKeyPairSync } from 'node:crypto';

import { generateP256KeyPair, importSigningKey } from '@azaion/crypto';
import { CompactSign } from 'jose';

import { es256Payload } from './es256.js';
import { SENTENCE } from './testing/sentence.js';

describe('es256Payload', () => {
  const payload = Buffer.from('payload');

  it('is what was signed, for the key that signed it', async () => {
    const [own, other] = [await generateP256KeyPair(), await generateP256KeyPair()];
    const { privateKey } = await importSigningKey('1', own.privateJwk);
    const token = await new CompactSign(payload).setProtectedHeader({ alg: 'ES256' }).sign(privateKey);
    const keyOf = ({ publicJwk }: typeof own): ReturnType<typeof createPublicKey> =>
      createPublicKey({ format: 'jwk', key: { ...publicJwk } });
    expect(Buffer.from(await es256Payload(token, keyOf(own)))).toEqual(payload);
    await expect(es256Payload(token, keyOf(other))).rejects.toMatchObject({
      code: 'token.invalid',
      cause: expect.anything() as unknown,
    });
  });

  it.each([
    ['RS256', generateKeyPairSync('rsa', { modulusLength: 2048 })],
    ['ES384', generateKeyPairSync('ec', { namedCurve: 'secp384r1' })],
    ['Ed25519', generateKeyPairSync('ed25519')],
  ])('is none of a token by %s, whatever key it is asked with', async (alg, { publicKey, privateKey }) => {
    const token = await new CompactSign(payload).setProtectedHeader({ alg }).sign(privateKey);
    await expect(es256Payload(token, publicKey)).rejects.toMatchObject({
      code: 'token.invalid',
      message: SENTENCE,
    });
  });
});
