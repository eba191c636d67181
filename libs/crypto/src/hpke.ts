import { type webcrypto } from 'node:crypto';

import { Aes256Gcm, CipherSuite, DhkemP256HkdfSha256, HkdfSha256, type RecipientContextParams } from '@hpke/core';

import { concatBytes, utf8 } from '@azaion/kernel';

import { CryptoError } from './errors.js';
import { type EcdhP256 } from './p256.js';

const INFO = utf8('azaion-grant-v2');

/** A secret sealed to one recipient: HPKE Base mode, DHKEM(P-256, HKDF-SHA256), HKDF-SHA256, AES-256-GCM (RFC 9180). */
export interface HpkeSealed {
  /** The encapsulated key, a 65-byte SEC1 point. */
  readonly enc: Uint8Array;
  readonly ciphertext: Uint8Array;
}

/**
 * Seals a secret to a P-256 public key.
 *
 * @param recipientPoint - 65-byte SEC1 point, validated here.
 * @throws CryptoError `grant.foreign-recipient` when the point is not on the curve.
 */
export async function hpkeSeal(secret: Uint8Array, recipientPoint: Uint8Array, aad: Uint8Array): Promise<HpkeSealed> {
  const suite = cipherSuite(new DhkemP256HkdfSha256());
  let recipientPublicKey: webcrypto.CryptoKey;
  try {
    recipientPublicKey = (await suite.kem.deserializePublicKey(recipientPoint)) as webcrypto.CryptoKey;
  } catch (cause) {
    throw new CryptoError('grant.foreign-recipient', 'The recipient key is not a point on P-256.', { cause });
  }
  const { enc, ct } = await suite.seal({ recipientPublicKey, info: INFO }, secret, aad);
  return { enc: new Uint8Array(enc), ciphertext: new Uint8Array(ct) };
}

/**
 * Opens a sealed secret.
 *
 * @param recipientPoint - The recipient's own public key, 65 bytes.
 * @throws CryptoError `grant.invalid` when it was not sealed to this key with this `aad`, or was changed.
 */
export async function hpkeOpen(
  sealed: HpkeSealed,
  recipientPoint: Uint8Array,
  ecdh: EcdhP256,
  aad: Uint8Array,
): Promise<Uint8Array> {
  try {
    const kem = new DelegatedDhkem(recipientPoint, ecdh);
    const suite = cipherSuite(kem);
    const recipientKey = (await suite.kem.deserializePublicKey(recipientPoint)) as webcrypto.CryptoKey;
    return new Uint8Array(
      await suite.open(
        { recipientKey, enc: toArrayBuffer(sealed.enc), info: INFO },
        toArrayBuffer(sealed.ciphertext),
        aad,
      ),
    );
  } catch (cause) {
    throw new CryptoError('grant.invalid', 'The sealed key of the grant does not open for this recipient.', { cause });
  }
}

function cipherSuite(kem: DhkemP256HkdfSha256): CipherSuite {
  return new CipherSuite({ kem, kdf: new HkdfSha256(), aead: new Aes256Gcm() });
}

function toArrayBuffer(bytes: Uint8Array): ArrayBuffer {
  return new Uint8Array(bytes).buffer;
}

/** DHKEM whose Diffie-Hellman happens elsewhere, for instance in a TPM (RFC 9180 §4.1, `Decap`). */
export class DelegatedDhkem extends DhkemP256HkdfSha256 {
  constructor(
    private readonly recipientPoint: Uint8Array,
    private readonly ecdh: EcdhP256,
  ) {
    super();
  }

  override async decap(params: RecipientContextParams): Promise<ArrayBuffer> {
    const enc = ArrayBuffer.isView(params.enc)
      ? new Uint8Array(params.enc.buffer, params.enc.byteOffset, params.enc.byteLength)
      : new Uint8Array(params.enc);
    await this.deserializePublicKey(enc); // refuses points off the curve before the private key meets them
    const dh = await this.ecdh(enc);
    if (dh.length !== this.secretSize) throw new RangeError('the X coordinate must be padded to 32 bytes');
    // ExtractAndExpand of RFC 9180 §4.1 over the inputs of §7.1; the library keeps its own private.
    const ikm = this._kdf.buildLabeledIkm(utf8('eae_prk'), dh);
    const kemContext = concatBytes(enc, this.recipientPoint);
    const info = this._kdf.buildLabeledInfo(utf8('shared_secret'), kemContext, this.secretSize);
    return this._kdf.extractAndExpand(new Uint8Array(0), ikm, info, this.secretSize);
  }
}
