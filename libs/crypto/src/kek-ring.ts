import { randomBytes } from 'node:crypto';

import { concatBytes, equalBytes, toHex, utf8 } from '@azaion/kernel';

import { CryptoError } from './errors.js';
import { type KeyPurpose, KeyVault } from './key-vault.js';
import { GCM_NONCE_BYTES, GCM_TAG_BYTES, gcmOpen, gcmSeal, hkdfSha256 } from './primitives.js';

/** Length of a key-encryption key. */
export const KEK_BYTES = 32;
/** Most keys of one ring: the current one and those that rotation has not finished with. */
export const MAX_KEKS = 16;

const FORMAT_VERSION = 1;
const KEK_ID_BYTES = 8;
const NONCE_AT = 1 + KEK_ID_BYTES;
const SECRET_AT = NONCE_AT + GCM_NONCE_BYTES;
/** Bytes a wrapped secret has beside the secret: version, KEK id, nonce, tag. */
export const WRAP_OVERHEAD_BYTES = SECRET_AT + GCM_TAG_BYTES;
/** Bytes at the beginning of a wrapped secret that name its key: version, KEK id. */
export const WRAP_PREFIX_BYTES = NONCE_AT;

interface Kek {
  readonly id: Uint8Array;
  readonly key: Uint8Array;
}

/**
 * The key vault over keys that this process holds, wherever they come from. A wrapped secret is
 * `version(1) = 1 ‖ KEK id(8) ‖ nonce(12) ‖ AES-256-GCM ‖ tag(16)` under `HKDF-SHA-256(KEK, info = "azaion-kek-wrap-v1" ‖ 0 ‖ purpose)`,
 * AAD = purpose ‖ KEK id ‖ row id. The id is derived from the KEK, so that it needs no bookkeeping and tells nothing about it.
 */
export class KekRing extends KeyVault {
  readonly #keks: readonly Kek[];
  readonly #current: Kek;

  /**
   * @param keks - 1 to {@link MAX_KEKS} keys of {@link KEK_BYTES} bytes each, all different, copied. The first one wraps, all unwrap.
   * @throws RangeError otherwise.
   */
  constructor(keks: readonly Uint8Array[]) {
    super();
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

  override async wrap(purpose: KeyPurpose, rowId: string, secret: Uint8Array): Promise<Uint8Array> {
    return Promise.resolve(this.wrapNow(purpose, rowId, secret));
  }

  override async unwrap(purpose: KeyPurpose, rowId: string, wrapped: Uint8Array): Promise<Uint8Array> {
    return Promise.resolve(this.unwrapNow(purpose, rowId, wrapped));
  }

  override async macKey(purpose: 'url-signing'): Promise<Uint8Array> {
    return Promise.resolve(derive(this.#current.key, 'azaion-kek-mac-v1', purpose, KEK_BYTES));
  }

  override async prefixes(): Promise<readonly Uint8Array[]> {
    return Promise.resolve(this.#keks.map(({ id }) => concatBytes(Uint8Array.of(FORMAT_VERSION), id)));
  }

  /** Whether a wrapped secret names a key of this ring. Nothing is opened. */
  names(wrapped: Uint8Array): boolean {
    return this.find(wrapped) !== undefined;
  }

  private find(wrapped: Uint8Array): Kek | undefined {
    const id = wrapped.subarray(1, NONCE_AT);
    return this.#keks.find((candidate) => equalBytes(candidate.id, id));
  }

  private wrapNow(purpose: KeyPurpose, rowId: string, secret: Uint8Array): Uint8Array {
    const { id, key } = this.#current;
    const nonce = randomBytes(GCM_NONCE_BYTES);
    return withSubkey(key, purpose, (subkey) => {
      const sealed = gcmSeal(subkey, nonce, associatedData(purpose, id, rowId), secret);
      return concatBytes(Uint8Array.of(FORMAT_VERSION), id, nonce, sealed);
    });
  }

  private unwrapNow(purpose: KeyPurpose, rowId: string, wrapped: Uint8Array): Uint8Array {
    if (wrapped.length < WRAP_OVERHEAD_BYTES || wrapped[0] !== FORMAT_VERSION) throw invalid();
    const kek = this.find(wrapped);
    if (kek === undefined)
      throw new CryptoError(
        'keys.wrapped-invalid',
        `A stored key was wrapped under the key-encryption key ${toHex(wrapped.subarray(1, NONCE_AT))}, which is not in the key file: put it back below the current one.`,
      );
    return withSubkey(kek.key, purpose, (subkey) => {
      const aad = associatedData(purpose, kek.id, rowId);
      try {
        const secret = gcmOpen(subkey, wrapped.subarray(NONCE_AT, SECRET_AT), aad, wrapped.subarray(SECRET_AT));
        return new Uint8Array(secret.buffer, secret.byteOffset, secret.length);
      } catch (cause) {
        throw invalid(cause);
      }
    });
  }
}

function derive(kek: Uint8Array, label: string, purpose: string, sizeBytes: number): Uint8Array {
  return hkdfSha256(kek, new Uint8Array(0), utf8(`${label}\0${purpose}`), sizeBytes);
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
    'A stored key does not open under the key-encryption key that it names: the database was changed.',
    { cause },
  );
}
