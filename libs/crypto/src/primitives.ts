import { createCipheriv, createDecipheriv, createHmac, createSecretKey, type DecipherGCM, hkdfSync } from 'node:crypto';

import { copyBytes, releaseBytes } from '@azaion/kernel';

/** Length of the nonce of AES-256-GCM in every format. */
export const GCM_NONCE_BYTES = 12;
/** Length of its tag. */
export const GCM_TAG_BYTES = 16;

/** How much is encrypted or decrypted at once: pieces that stay in the cache of a core and that the allocator has at hand. */
const STEP_BYTES = 64 * 1024;

/** HMAC-SHA-256 (RFC 2104) of the parts one after another. */
export function hmacSha256(key: Uint8Array, ...parts: readonly Uint8Array[]): Buffer {
  const mac = createHmac('sha256', createSecretKey(key)); // Node 24 takes three times as long with bytes
  for (const part of parts) mac.update(part);
  return mac.digest();
}

/**
 * HKDF-SHA-256 (RFC 5869).
 *
 * @param salt - Empty for none.
 * @param sizeBytes - At most 8160.
 * @throws RangeError for more.
 */
export function hkdfSha256(ikm: Uint8Array, salt: Uint8Array, info: Uint8Array, sizeBytes: number): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', createSecretKey(ikm), salt, info, sizeBytes));
}

/**
 * Seals with AES-256-GCM (NIST SP 800-38D) into memory that is there: `ciphertext ‖ tag`.
 *
 * @param key - 32 bytes.
 * @param nonce - {@link GCM_NONCE_BYTES} bytes, never used before with this key.
 * @param target - Exactly {@link GCM_TAG_BYTES} bytes longer than the plaintext.
 */
export function gcmSealInto(
  key: Uint8Array,
  nonce: Uint8Array,
  aad: Uint8Array,
  plaintext: Uint8Array,
  target: Uint8Array,
): void {
  if (target.length !== plaintext.length + GCM_TAG_BYTES) throw new RangeError('the target has another length');
  const cipher = createCipheriv('aes-256-gcm', createSecretKey(key), nonce).setAAD(aad);
  for (let at = 0; at < plaintext.length; at += STEP_BYTES) {
    const piece = cipher.update(plaintext.subarray(at, at + STEP_BYTES));
    copyBytes(piece, target, at);
    releaseBytes(piece);
  }
  cipher.final(); // has no bytes of its own in this mode
  target.set(cipher.getAuthTag(), plaintext.length);
}

/** As {@link gcmSealInto}, into new memory. */
export function gcmSeal(key: Uint8Array, nonce: Uint8Array, aad: Uint8Array, plaintext: Uint8Array): Buffer {
  const sealed = Buffer.alloc(plaintext.length + GCM_TAG_BYTES);
  gcmSealInto(key, nonce, aad, plaintext, sealed);
  return sealed;
}

/**
 * Opens what {@link gcmSealInto} made, into memory that is there.
 *
 * @param sealed - Untrusted.
 * @param target - Exactly as long as the plaintext. It holds anything at all when this throws.
 * @param wiping - Whether memory that plaintext passed through is overwritten before it is given back: for keys.
 * @throws Error when the tag does not fit, or the lengths do not.
 */
export function gcmOpenInto(
  key: Uint8Array,
  nonce: Uint8Array,
  aad: Uint8Array,
  sealed: Uint8Array,
  target: Uint8Array,
  wiping = false,
): void {
  const end = sealed.length - GCM_TAG_BYTES;
  if (target.length !== end) throw new RangeError('what is sealed has another length');
  const decipher = gcmDecipher(key, nonce, aad, sealed);
  for (let at = 0; at < end; at += STEP_BYTES) {
    const piece = decipher.update(sealed.subarray(at, Math.min(end, at + STEP_BYTES)));
    target.set(piece, at);
    if (wiping) piece.fill(0);
    releaseBytes(piece);
  }
  decipher.final();
}

/** Ready for the ciphertext. */
function gcmDecipher(key: Uint8Array, nonce: Uint8Array, aad: Uint8Array, sealed: Uint8Array): DecipherGCM {
  if (sealed.length < GCM_TAG_BYTES) throw new RangeError('what is sealed has another length');
  // As a key object: bytes cost Node several times as much.
  const decipher = createDecipheriv('aes-256-gcm', createSecretKey(key), nonce, { authTagLength: GCM_TAG_BYTES });
  return decipher.setAAD(aad).setAuthTag(sealed.subarray(sealed.length - GCM_TAG_BYTES));
}

/**
 * As {@link gcmOpenInto}, at once and in the memory that the platform decrypts into. Nothing of it stays elsewhere, and nothing at all when the
 * tag does not fit.
 *
 * @returns Nobody else's memory.
 * @throws Error likewise.
 */
export function gcmOpen(key: Uint8Array, nonce: Uint8Array, aad: Uint8Array, sealed: Uint8Array): Buffer {
  const decipher = gcmDecipher(key, nonce, aad, sealed);
  const plaintext = decipher.update(sealed.subarray(0, sealed.length - GCM_TAG_BYTES));
  try {
    decipher.final();
  } catch (error) {
    plaintext.fill(0);
    throw error;
  }
  return plaintext;
}
