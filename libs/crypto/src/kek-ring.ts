import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';

import { concatBytes, equalBytes, utf8 } from '@azaion/kernel';

import { CryptoError } from './errors.js';
import { type KeyPurpose } from './key-vault.js';

/** Length of a key-encryption key. */
export const KEK_BYTES = 32;
/** Most keys of one ring: the current one and those that rotation has not finished with. */
export const MAX_KEKS = 16;

const FORMAT_VERSION = 1;
const KEK_ID_BYTES = 8;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const NONCE_AT = 1 + KEK_ID_BYTES;
const SECRET_AT = NONCE_AT + NONCE_BYTES;
/** Bytes a wrapped secret has beside the secret: version, KEK id, nonce, tag. */
export const WRAP_OVERHEAD_BYTES = SECRET_AT + TAG_BYTES;

interface Kek {
  readonly id: Uint8Array;
  readonly key: Uint8Array;
}

/**
 * The mathematics of a key vault over the keys themselves, wherever they come from. A wrapped secret is
 * `version(1) = 1 ‖ KEK id(8) ‖ nonce(12) ‖ AES-256-GCM ‖ tag(16)` under `HKDF-SHA-256(KEK, info = "azaion-kek-wrap-v1" ‖ 0 ‖ purpose)`,
 * AAD = purpose ‖ KEK id ‖ row id. The id is derived from the KEK, so that it needs no bookkeeping and tells nothing about it.
 */
export class KekRing {
  readonly #keks: readonly Kek[];
  readonly #current: Kek;

  /**
   * @param keks - 1 to {@link MAX_KEKS} keys of {@link KEK_BYTES} bytes each, all different, copied. The first one wraps, all unwrap.
   * @throws RangeError otherwise.
   */
  constructor(keks: readonly Uint8Array[]) {
    const [current, ...earlier] = keks.map((key) => {
      if (key.length !== KEK_BYTES) throw new RangeError('a key-encryption key has 32 bytes');
      return { key: Uint8Array.from(key), id: derive(key, 'azaion-kek-id-v1', '', KEK_ID_BYTES) };
    });
    if (current === undefined || keks.length > MAX_KEKS) throw new RangeError('a vault has 1 to 16 keys');
    this.#current = current;
    this.#keks = [current, ...earlier];
    if (this.#keks.some((kek, at) => this.#keks.slice(0, at).some((other) => equalBytes(kek.id, other.id))))
      throw new RangeError('a key stands twice in the vault');
  }

  /** Wraps a secret under the current key. See `KeyVault.wrap`. */
  wrap(purpose: KeyPurpose, rowId: string, secret: Uint8Array): Uint8Array {
    const { id, key } = this.#current;
    const nonce = randomBytes(NONCE_BYTES);
    return withSubkey(key, purpose, (subkey) => {
      const cipher = createCipheriv('aes-256-gcm', subkey, nonce);
      cipher.setAAD(associatedData(purpose, id, rowId));
      const ciphertext = concatBytes(cipher.update(secret), cipher.final());
      return concatBytes(Uint8Array.of(FORMAT_VERSION), id, nonce, ciphertext, cipher.getAuthTag());
    });
  }

  /**
   * Opens a wrapped secret. See `KeyVault.unwrap`.
   *
   * @param wrapped - Untrusted bytes.
   * @throws CryptoError `keys.wrapped-invalid`.
   */
  unwrap(purpose: KeyPurpose, rowId: string, wrapped: Uint8Array): Uint8Array {
    if (wrapped.length < WRAP_OVERHEAD_BYTES || wrapped[0] !== FORMAT_VERSION) throw invalid();
    const id = wrapped.subarray(1, NONCE_AT);
    const kek = this.#keks.find((candidate) => equalBytes(candidate.id, id));
    if (kek === undefined) throw invalid();
    return withSubkey(kek.key, purpose, (subkey) => {
      const tagAt = wrapped.length - TAG_BYTES;
      const decipher = createDecipheriv('aes-256-gcm', subkey, wrapped.subarray(NONCE_AT, SECRET_AT), {
        authTagLength: TAG_BYTES,
      });
      decipher.setAAD(associatedData(purpose, id, rowId));
      decipher.setAuthTag(wrapped.subarray(tagAt));
      const secret = decipher.update(wrapped.subarray(SECRET_AT, tagAt));
      try {
        decipher.final();
      } catch (cause) {
        secret.fill(0);
        throw invalid(cause);
      }
      return new Uint8Array(secret);
    });
  }

  /** The MAC key of the current KEK. See `KeyVault.macKey`. */
  macKey(purpose: 'url-signing'): Uint8Array {
    return derive(this.#current.key, 'azaion-kek-mac-v1', purpose, KEK_BYTES);
  }
}

function derive(kek: Uint8Array, label: string, purpose: string, sizeBytes: number): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', kek, new Uint8Array(0), utf8(`${label}\0${purpose}`), sizeBytes));
}

function withSubkey<T>(kek: Uint8Array, purpose: KeyPurpose, use: (subkey: Uint8Array) => T): T {
  const subkey = derive(kek, 'azaion-kek-wrap-v1', purpose, KEK_BYTES);
  try {
    return use(subkey);
  } finally {
    subkey.fill(0);
  }
}

/** Unambiguous although two parts vary in length: each purpose has a key of its own. */
function associatedData(purpose: KeyPurpose, kekId: Uint8Array, rowId: string): Uint8Array {
  return concatBytes(utf8(purpose), kekId, utf8(rowId));
}

function invalid(cause?: unknown): CryptoError {
  return new CryptoError(
    'keys.wrapped-invalid',
    'A stored key does not open: the key-encryption key is another one, or the database was changed.',
    cause === undefined ? {} : { cause },
  );
}
