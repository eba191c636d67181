import {
  type Cipheriv,
  createCipheriv,
  createDecipheriv,
  type Decipheriv,
  type KeyObject,
  randomBytes,
} from 'node:crypto';
import { Transform, type TransformCallback } from 'node:stream';

import { releaseBytes } from '@azaion/kernel';

import { CryptoError } from '../errors.js';

const ALGORITHM = 'aes-256-cbc';
const IV_BYTES = 16;
const BLOCK_BYTES = 16;

/** Length of the legacy ciphertext (`IV ‖ C`, PKCS#7) of a plaintext. */
export function legacyEncryptedBytes(plaintextBytes: number): number {
  return IV_BYTES + (Math.floor(plaintextBytes / BLOCK_BYTES) + 1) * BLOCK_BYTES;
}

/**
 * Encrypts a stream as `IV ‖ AES-256-CBC(plaintext)` (docs/formats/legacy.md). Memory is bounded by the chunks that are written to it.
 * There is no tag: nobody can tell later whether the content was changed.
 *
 * @param aesKey - 32 bytes.
 * @param iv - Only for vectors. Equal IVs under one key reveal equal beginnings.
 */
export function legacyEncrypt(aesKey: Uint8Array, iv: Uint8Array = randomBytes(IV_BYTES)): Transform {
  return new LegacyEncrypt(createCipheriv(ALGORITHM, aesKey, iv), iv);
}

/**
 * As {@link legacyEncrypt}, of pieces that are nobody else's: each is given back as soon as it was encrypted, so that memory is bounded by one of
 * them and not by when garbage is collected.
 *
 * @throws what the pieces throw.
 */
export async function* legacyEncrypted(
  aesKey: Uint8Array,
  pieces: AsyncIterable<Uint8Array>,
): AsyncGenerator<Buffer, void> {
  const iv = randomBytes(IV_BYTES);
  const cipher = createCipheriv(ALGORITHM, aesKey, iv);
  yield iv;
  for await (const piece of pieces) {
    const encrypted = cipher.update(piece);
    releaseBytes(piece);
    yield encrypted;
  }
  yield cipher.final();
}

/**
 * Decrypts a stream of `IV ‖ AES-256-CBC(plaintext)`. Memory is bounded by the chunks that are written to it.
 *
 * What comes out is **not authenticated**: only the padding is checked, and only at the end. The last block is held back until then. Where
 * the plaintext's hash is known, check it before using anything.
 *
 * The stream fails with CryptoError `legacy.invalid`, the same for a wrong key, damaged content, and a wrong length.
 *
 * @param aesKey - 32 bytes.
 */
export function legacyDecrypt(aesKey: Uint8Array): Transform {
  return new LegacyDecrypt(aesKey);
}

/**
 * Decrypts whole blocks from anywhere in `IV ‖ AES-256-CBC(plaintext)`, in order. Nothing is checked: padding comes out as it stands, and
 * what comes out is **not authenticated**.
 *
 * @param aesKey - 32 bytes, or a key that keeps them out of JavaScript's memory.
 * @param precedingBlock - The 16 bytes of the file right before the first block that is decrypted: the IV, or the block before.
 * @returns Takes multiples of 16 bytes and gives as many back.
 */
export function legacyBlockDecipher(
  aesKey: Uint8Array | KeyObject,
  precedingBlock: Uint8Array,
): (blocks: Uint8Array) => Buffer {
  const decipher = createDecipheriv(ALGORITHM, aesKey, precedingBlock).setAutoPadding(false);
  return (blocks) => decipher.update(blocks);
}

class LegacyEncrypt extends Transform {
  constructor(
    private readonly cipher: Cipheriv,
    iv: Uint8Array,
  ) {
    super();
    this.push(iv);
  }

  override _transform(plaintext: Uint8Array, _encoding: BufferEncoding, done: TransformCallback): void {
    done(null, this.cipher.update(plaintext));
  }

  override _flush(done: TransformCallback): void {
    done(null, this.cipher.final());
  }
}

class LegacyDecrypt extends Transform {
  private head = Buffer.alloc(0);
  private decipher: Decipheriv | undefined;

  constructor(private readonly aesKey: Uint8Array) {
    super();
  }

  override _transform(encrypted: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    let body = encrypted;
    if (this.decipher === undefined) {
      this.head = Buffer.concat([this.head, encrypted]);
      if (this.head.length < IV_BYTES) {
        done();
        return;
      }
      this.decipher = createDecipheriv(ALGORITHM, this.aesKey, this.head.subarray(0, IV_BYTES));
      body = this.head.subarray(IV_BYTES);
      this.head = Buffer.alloc(0);
    }
    done(null, this.decipher.update(body)); // OpenSSL keeps the last block until `final`
  }

  override _flush(done: TransformCallback): void {
    const last = this.lastBlock();
    if (last === undefined) done(invalid());
    else done(null, last);
  }

  /** Without its padding; `undefined` where there is none, or no block at all. */
  private lastBlock(): Buffer | undefined {
    try {
      return this.decipher?.final();
    } catch {
      return undefined;
    }
  }
}

/** Without a cause: even the log must not tell bad padding from bad content, or it becomes the oracle. */
function invalid(): CryptoError {
  return new CryptoError(
    'legacy.invalid',
    'The content does not decrypt with this key: wrong key, or damaged content.',
  );
}
