import { createECDH, ECDH, randomBytes, type webcrypto } from 'node:crypto';

import { Aes128Gcm, Aes256Gcm, CipherSuite, DhkemP256HkdfSha256, HkdfSha256 } from '@hpke/core';

import { DelegatedDhkem, hpkeOpen, hpkeSeal, PlatformDhkem } from './hpke.js';
import { ephemeralRecipient, jwkFromPoint, softwareEcdh } from './p256.js';

const AAD = Buffer.from('aad');

function hex(text: string): Buffer {
  return Buffer.from(text, 'hex');
}

function arrayBuffer(bytes: Buffer): ArrayBuffer {
  return new Uint8Array(bytes).buffer;
}

// RFC 9180 appendix A.3.1: DHKEM(P-256, HKDF-SHA256), HKDF-SHA256, AES-128-GCM, Base mode. The RFC has no vector with AES-256-GCM; the part
// that is ours, the decapsulation, is the same in both.
describe('DelegatedDhkem on RFC 9180 appendix A.3.1', () => {
  const info = hex('4f6465206f6e2061204772656369616e2055726e');
  const enc = hex(
    '04a92719c6195d5085104f469a8b9814d5838ff72b60501e2c4466e5e67b325ac98536d7b61a1af4b78e5b7f951c0900be863c403ce65c9bfcb9382657222d18c4',
  );
  const recipientPoint = hex(
    '04fe8c19ce0905191ebc298a9245792531f26f0cece2460639e8bc39cb7f706a826a779b4cf969b8a0e539c7f62fb3d30ad6aa8f80e30f1d128aafd68a2ce72ea0',
  );
  const d = hex('f3ce7fdae57e1a310d87f1ebbde6f328be0a99cdbcadf4d6589cf29de4b8ffd2').toString('base64url');
  const ecdh = softwareEcdh({ ...jwkFromPoint(recipientPoint), d });

  it('decapsulates the shared secret', async () => {
    const kem = new DelegatedDhkem(recipientPoint, ecdh);
    const recipientKey = (await kem.deserializePublicKey(recipientPoint)) as webcrypto.CryptoKey;
    for (const form of [enc, arrayBuffer(enc)]) {
      const shared = await kem.decap({ recipientKey, enc: form });
      expect(Buffer.from(shared).toString('hex')).toBe(
        'c0d26aeab536609a572b07695d933b589dcf363ff9d93c93adea537aeabb8cb8',
      );
    }
  });

  it('encapsulates to the shared secret with the key of the RFC', async () => {
    const ephemeral = createECDH('prime256v1');
    ephemeral.setPrivateKey(hex('4995788ef4b9d6132b249ce59a77281493eb39af373d236a1fe415cb0c2d7beb'));
    const { enc: made, sharedSecret } = await new PlatformDhkem(recipientPoint, () => ephemeral).encap();
    expect(Buffer.from(made).toString('hex')).toBe(enc.toString('hex'));
    expect(Buffer.from(sharedSecret).toString('hex')).toBe(
      'c0d26aeab536609a572b07695d933b589dcf363ff9d93c93adea537aeabb8cb8',
    );
  });

  it('opens the first ciphertext', async () => {
    const kem = new DelegatedDhkem(recipientPoint, ecdh);
    const suite = new CipherSuite({ kem, kdf: new HkdfSha256(), aead: new Aes128Gcm() });
    const recipientKey = (await kem.deserializePublicKey(recipientPoint)) as webcrypto.CryptoKey;
    const plaintext = await suite.open(
      { recipientKey, enc: arrayBuffer(enc), info: arrayBuffer(info) },
      arrayBuffer(hex('5ad590bb8baa577f8619db35a36311226a896e7342a6d836d8b7bcd2f20b6c7f9076ac232e3ab2523f39513434')),
      hex('436f756e742d30'),
    );
    expect(Buffer.from(plaintext).toString()).toBe('Beauty is truth, truth beauty');
  });
});

// The steps are the platform's here; in the library they are Web Cryptography's.
describe('hpkeSeal and hpkeOpen beside the library alone', () => {
  const info = Buffer.from('azaion-grant-v2');
  const alone = new CipherSuite({ kem: new DhkemP256HkdfSha256(), kdf: new HkdfSha256(), aead: new Aes256Gcm() });

  it.each([0, 1, 64, 1000])('seal %i bytes so that it opens them', async (sizeBytes) => {
    const secret = randomBytes(sizeBytes);
    const recipientKey = (await alone.kem.generateKeyPair()) as webcrypto.CryptoKeyPair;
    const point = new Uint8Array(await alone.kem.serializePublicKey(recipientKey.publicKey));
    const { enc, ciphertext } = await hpkeSeal(secret, point, AAD);
    const opened = await alone.open({ recipientKey, enc, info }, ciphertext, AAD);
    expect(Buffer.from(opened).equals(secret)).toBe(true);
  });

  it.each([0, 1, 64, 1000])('open the %i bytes that it sealed', async (sizeBytes) => {
    const secret = randomBytes(sizeBytes);
    const { point, ecdh } = await ephemeralRecipient();
    const recipientPublicKey = (await alone.kem.deserializePublicKey(point)) as webcrypto.CryptoKey;
    const { enc, ct } = await alone.seal({ recipientPublicKey, info }, secret, AAD);
    const sealed = { enc: new Uint8Array(enc), ciphertext: new Uint8Array(ct) };
    expect(Buffer.from(await hpkeOpen(sealed, point, ecdh, AAD)).equals(secret)).toBe(true);
  });
});

describe('hpkeSeal and hpkeOpen', () => {
  it.each([0, 1, 64, 1000])('carry %i bytes to the recipient', async (sizeBytes) => {
    const secret = randomBytes(sizeBytes);
    const { point, ecdh } = await ephemeralRecipient();
    const sealed = await hpkeSeal(secret, point, AAD);
    expect(Buffer.from(await hpkeOpen(sealed, point, ecdh, AAD)).equals(secret)).toBe(true);
  });

  it('refuse a recipient key that is not on the curve', async () => {
    const { point } = await ephemeralRecipient();
    point[64]! ^= 1;
    for (const bad of [point, point.subarray(1), new Uint8Array(65)])
      await expect(hpkeSeal(AAD, bad, AAD)).rejects.toMatchObject({ code: 'grant.foreign-recipient' });
  });

  it.each(['compressed', 'hybrid'] as const)('refuse a recipient key in another form: %s', async (form) => {
    const { point } = await ephemeralRecipient();
    const other = new Uint8Array(ECDH.convertKey(point, 'prime256v1', undefined, undefined, form) as Buffer);
    await expect(hpkeSeal(AAD, other, AAD)).rejects.toMatchObject({ code: 'grant.foreign-recipient' });
  });

  it('refuse every change of a single bit', async () => {
    const { point, ecdh } = await ephemeralRecipient();
    const { enc, ciphertext } = await hpkeSeal(Buffer.from('secret'), point, AAD);
    const sealed = Buffer.concat([enc, ciphertext]);
    for (let bit = 0; bit < 8 * sealed.length; bit += 1) {
      const changed = Buffer.from(sealed);
      changed[bit >> 3]! ^= 1 << (bit & 7);
      const twin = { enc: changed.subarray(0, enc.length), ciphertext: changed.subarray(enc.length) };
      await expect(hpkeOpen(twin, point, ecdh, AAD)).rejects.toMatchObject({ code: 'grant.invalid' });
    }
    await expect(hpkeOpen({ enc, ciphertext }, point, ecdh, Buffer.from('aae'))).rejects.toMatchObject({
      code: 'grant.invalid',
    });
  });

  it('do not show a point off the curve to the private key', async () => {
    const { point } = await ephemeralRecipient();
    const { enc, ciphertext } = await hpkeSeal(Buffer.from('secret'), point, AAD);
    const offCurve = Uint8Array.from(enc);
    offCurve[64]! ^= 1;
    let asked = false;
    const ecdh = async (): Promise<Uint8Array> => {
      asked = true;
      return Promise.resolve(new Uint8Array(32));
    };
    await expect(hpkeOpen({ enc: offCurve, ciphertext }, point, ecdh, AAD)).rejects.toMatchObject({
      code: 'grant.invalid',
    });
    expect(asked).toBe(false);
  });

  it('refuse a coordinate that was not padded', async () => {
    const { point } = await ephemeralRecipient();
    const sealed = await hpkeSeal(Buffer.from('secret'), point, AAD);
    const ecdh = async (): Promise<Uint8Array> => Promise.resolve(new Uint8Array(31));
    await expect(hpkeOpen(sealed, point, ecdh, AAD)).rejects.toMatchObject({ code: 'grant.invalid' });
    const kem = new DelegatedDhkem(point, ecdh);
    const recipientKey = (await kem.deserializePublicKey(point)) as webcrypto.CryptoKey;
    await expect(kem.decap({ recipientKey, enc: arrayBuffer(Buffer.from(sealed.enc)) })).rejects.toThrow(RangeError);
  });
});
