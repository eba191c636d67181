import { createECDH, type ECDH, type webcrypto } from 'node:crypto';

import { Aes256Gcm, CipherSuite, DhkemP256HkdfSha256, HkdfSha256, type RecipientContextParams } from '@hpke/core';

import { concatBytes, utf8 } from '@azaion/kernel';

import { CryptoError } from './errors.js';
import { type EcdhP256, P256_POINT_BYTES } from './p256.js';
import { GCM_TAG_BYTES, gcmOpenInto, gcmSeal, hkdfSha256, hmacSha256 } from './primitives.js';

const INFO = utf8('azaion-grant-v2');
const CURVE = 'prime256v1'; // OpenSSL's name of P-256
const UNCOMPRESSED = 4;
/** Stands for the recipient's key where the KEM has its point already. */
const KNOWN_TO_KEM = {} as webcrypto.CryptoKey;

type Bytes = ArrayBufferLike | ArrayBufferView;

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
  const suite = cipherSuite(new PlatformDhkem(recipientPoint));
  const { enc, ct } = await suite.seal({ recipientPublicKey: KNOWN_TO_KEM, info: INFO }, secret, aad);
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

/** One per message: a suite has state of its own. */
function cipherSuite(kem: DhkemP256HkdfSha256): CipherSuite {
  return new CipherSuite({ kem, kdf: new PlatformHkdf(), aead: new PlatformAes256Gcm() });
}

function toArrayBuffer(bytes: Uint8Array): ArrayBuffer {
  return new Uint8Array(bytes).buffer;
}

function bytesOf(bytes: Bytes): Uint8Array {
  return ArrayBuffer.isView(bytes)
    ? new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    : new Uint8Array(bytes);
}

/**
 * HKDF-SHA-256 (RFC 5869) by the platform's direct calls: through Web Cryptography every step of the key schedule is a task for a thread, and
 * the tasks cost more than the work.
 */
class PlatformHkdf extends HkdfSha256 {
  override async extract(salt: Bytes, ikm: Bytes): Promise<ArrayBuffer> {
    return Promise.resolve(toArrayBuffer(hmacSha256(bytesOf(salt), bytesOf(ikm)))); // no salt and one of zeros are the same key
  }

  override async extractAndExpand(salt: Bytes, ikm: Bytes, info: Bytes, len: number): Promise<ArrayBuffer> {
    return Promise.resolve(toArrayBuffer(hkdfSha256(bytesOf(ikm), bytesOf(salt), bytesOf(info), len)));
  }
}

/** AES-256-GCM by the platform's direct calls, for the same reason. */
class PlatformAes256Gcm extends Aes256Gcm {
  override createEncryptionContext(key: Bytes): ReturnType<Aes256Gcm['createEncryptionContext']> {
    const secret = bytesOf(key);
    return {
      seal: async (iv, data, aad) => {
        return Promise.resolve(toArrayBuffer(gcmSeal(secret, bytesOf(iv), bytesOf(aad), bytesOf(data))));
      },
      open: async (iv, data, aad) => {
        const sealed = bytesOf(data);
        if (sealed.length < GCM_TAG_BYTES) throw new RangeError('shorter than a tag');
        const opened = new Uint8Array(sealed.length - GCM_TAG_BYTES);
        gcmOpenInto(secret, bytesOf(iv), bytesOf(aad), sealed, opened, true);
        return Promise.resolve(opened.buffer);
      },
    };
  }
}

/** DHKEM(P-256, HKDF-SHA256) to one recipient by the platform's direct calls (RFC 9180 §4.1, `Encap`). */
export class PlatformDhkem extends DhkemP256HkdfSha256 {
  /** @param recipientPoint - Untrusted: the encapsulation refuses what is not a point on the curve. */
  constructor(
    private readonly recipientPoint: Uint8Array,
    private readonly ephemeral: () => ECDH = freshKey,
  ) {
    super();
  }

  /** @throws CryptoError `grant.foreign-recipient`. */
  override async encap(): Promise<{ sharedSecret: ArrayBuffer; enc: ArrayBuffer }> {
    const own = this.ephemeral();
    const dh = this.sharedPoint(own);
    try {
      const enc = own.getPublicKey();
      const sharedSecret = extractAndExpand(this, this._kdf, dh, concatBytes(enc, this.recipientPoint));
      return await Promise.resolve({ enc: toArrayBuffer(enc), sharedSecret });
    } finally {
      dh.fill(0);
    }
  }

  /** OpenSSL refuses points off the curve; the form is the one that travels (RFC 9180 §7.1.1). */
  private sharedPoint(own: ECDH): Uint8Array {
    try {
      if (this.recipientPoint.length !== P256_POINT_BYTES || this.recipientPoint[0] !== UNCOMPRESSED)
        throw new RangeError('not an uncompressed point');
      return own.computeSecret(this.recipientPoint);
    } catch (cause) {
      throw new CryptoError('grant.foreign-recipient', 'The recipient key is not a point on P-256.', { cause });
    }
  }
}

function freshKey(): ECDH {
  const own = createECDH(CURVE);
  own.generateKeys();
  return own;
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
    const enc = bytesOf(params.enc);
    await this.deserializePublicKey(enc); // refuses points off the curve before the private key meets them
    const dh = await this.ecdh(enc);
    try {
      return extractAndExpand(this, this._kdf, dh, concatBytes(enc, this.recipientPoint));
    } finally {
      dh.fill(0);
    }
  }
}

/** ExtractAndExpand of RFC 9180 §4.1 over the inputs of §7.1; the library keeps its own private. */
function extractAndExpand(
  { secretSize }: DhkemP256HkdfSha256,
  kdf: Pick<HkdfSha256, 'buildLabeledIkm' | 'buildLabeledInfo'>,
  dh: Uint8Array,
  kemContext: Uint8Array,
): ArrayBuffer {
  if (dh.length !== secretSize) throw new RangeError('the X coordinate must be padded to 32 bytes');
  const ikm = kdf.buildLabeledIkm(utf8('eae_prk'), dh);
  const info = kdf.buildLabeledInfo(utf8('shared_secret'), kemContext, secretSize);
  try {
    return toArrayBuffer(hkdfSha256(bytesOf(ikm), new Uint8Array(0), bytesOf(info), secretSize));
  } finally {
    bytesOf(ikm).fill(0);
  }
}
