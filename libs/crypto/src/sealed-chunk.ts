import { createCipheriv, createDecipheriv, hash, randomBytes } from 'node:crypto';
import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib';

import { equalBytes, u32be, utf8 } from '@azaion/kernel';

import { CryptoError } from './errors.js';

/** The largest plaintext of a chunk: the chunker's maximum, and the bound for everything a reader allocates. */
export const MAX_CHUNK_BYTES = 512 * 1024;
/** Bytes a sealed chunk has beside its payload: codec, nonce, tag. */
export const CHUNK_OVERHEAD_BYTES = 1 + 12 + 16;

const CODEC_STORED = 0;
const CODEC_ZSTD = 1;
const ZSTD_LEVEL = 3;
const SAMPLE_BYTES = 16 * 1024;
const WORTHWHILE_RATIO = 0.95;
const MAX_WINDOW_LOG = 19; // 2^19 = MAX_CHUNK_BYTES
const ZSTD_MAGIC = 0xfd2f_b528;
const AAD_LABEL = utf8('azaion-chunk-v2');

/** What a recipe says about one chunk, as far as opening needs it. */
export interface ChunkSecrets {
  /** SHA-256 of the plaintext, 32 bytes. */
  readonly h: Uint8Array;
  /** 32 bytes. */
  readonly key: Uint8Array;
  /** Length of the plaintext, 1 to {@link MAX_CHUNK_BYTES}. */
  readonly plaintextBytes: number;
}

/**
 * Seals one chunk: `codec(1) ‖ nonce(12) ‖ AES-256-GCM(payload) ‖ tag(16)`, compressed where that saves at least 5 %.
 *
 * @param plaintext - 1 to {@link MAX_CHUNK_BYTES} bytes; its hash and length must be those of `secrets`.
 * @returns A new buffer of at most `plaintext.length + CHUNK_OVERHEAD_BYTES` bytes.
 */
export function sealChunk(plaintext: Uint8Array, secrets: ChunkSecrets): Buffer {
  const compressed = compressIfWorthwhile(plaintext);
  const codec = compressed ? CODEC_ZSTD : CODEC_STORED;
  const payload = compressed ?? plaintext;
  const nonce = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', secrets.key, nonce);
  cipher.setAAD(associatedData(codec, secrets));
  const sealed = Buffer.allocUnsafe(payload.length + CHUNK_OVERHEAD_BYTES);
  sealed[0] = codec;
  nonce.copy(sealed, 1);
  cipher.update(payload).copy(sealed, 13);
  cipher.final();
  cipher.getAuthTag().copy(sealed, 13 + payload.length);
  return sealed;
}

/**
 * Opens one sealed chunk. The plaintext is returned only after the tag *and* the hash were checked: every reader of a chunk holds its
 * key, and only the hash keeps one reader from forging it for another.
 *
 * @param sealed - Untrusted bytes, exactly one sealed chunk.
 * @param secrets - From an authenticated recipe.
 * @throws CryptoError `chunk.invalid` | `chunk.unsupported-codec`.
 */
export function openChunk(sealed: Uint8Array, secrets: ChunkSecrets): Buffer {
  const { plaintextBytes } = secrets;
  if (
    plaintextBytes < 1 ||
    plaintextBytes > MAX_CHUNK_BYTES ||
    sealed.length < CHUNK_OVERHEAD_BYTES ||
    sealed.length > plaintextBytes + CHUNK_OVERHEAD_BYTES
  ) {
    throw invalidChunk();
  }
  const codec = sealed[0] ?? 0xff;
  if (codec !== CODEC_STORED && codec !== CODEC_ZSTD) {
    throw new CryptoError(
      'chunk.unsupported-codec',
      `This chunk uses codec ${codec}, which this release does not know: update to a newer release.`,
      { details: { codec } },
    );
  }
  const end = sealed.length - 16;
  const decipher = createDecipheriv('aes-256-gcm', secrets.key, sealed.subarray(1, 13), { authTagLength: 16 });
  decipher.setAAD(associatedData(codec, secrets));
  decipher.setAuthTag(sealed.subarray(end));
  const payload = decipher.update(sealed.subarray(13, end));
  try {
    decipher.final();
  } catch (cause) {
    throw invalidChunk(cause);
  }
  const plaintext = codec === CODEC_ZSTD ? decompress(payload, plaintextBytes) : payload;
  if (plaintext.length !== plaintextBytes || !equalBytes(hash('sha256', plaintext, 'buffer'), secrets.h))
    throw invalidChunk();
  return plaintext;
}

function invalidChunk(cause?: unknown): CryptoError {
  return new CryptoError(
    'chunk.invalid',
    'A chunk of the resource is damaged or forged.',
    cause === undefined ? {} : { cause },
  );
}

function associatedData(codec: number, secrets: ChunkSecrets): Buffer {
  return Buffer.concat([AAD_LABEL, Uint8Array.of(codec), secrets.h, u32be(secrets.plaintextBytes)]);
}

/** Tries a sample from the middle first, so that incompressible weights cost almost nothing. */
function compressIfWorthwhile(plaintext: Uint8Array): Buffer | undefined {
  if (plaintext.length > 4 * SAMPLE_BYTES) {
    const from = (plaintext.length - SAMPLE_BYTES) >>> 1;
    const sample = zstdCompressSync(plaintext.subarray(from, from + SAMPLE_BYTES), {
      params: { [constants.ZSTD_c_compressionLevel]: 1 },
    });
    if (sample.length > SAMPLE_BYTES * WORTHWHILE_RATIO) return undefined;
  }
  const compressed = zstdCompressSync(plaintext, {
    params: { [constants.ZSTD_c_compressionLevel]: ZSTD_LEVEL, [constants.ZSTD_c_windowLog]: MAX_WINDOW_LOG },
  });
  return compressed.length <= plaintext.length * WORTHWHILE_RATIO ? compressed : undefined;
}

/** Exactly one zstd frame: no skippable or trailing frames; output and window are bounded before anything is allocated. */
function decompress(frame: Buffer, plaintextBytes: number): Buffer {
  if (frame.length < 9 || frame.readUInt32LE(0) !== ZSTD_MAGIC) throw invalidChunk();
  try {
    const result = zstdDecompressSync(frame, {
      maxOutputLength: plaintextBytes,
      params: { [constants.ZSTD_d_windowLogMax]: MAX_WINDOW_LOG },
      info: true,
    }) as unknown as { buffer: Buffer; engine: { bytesWritten: number } };
    if (result.engine.bytesWritten !== frame.length) throw invalidChunk();
    return result.buffer;
  } catch (cause) {
    throw cause instanceof CryptoError ? cause : invalidChunk(cause);
  }
}
