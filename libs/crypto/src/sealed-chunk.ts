import { hash, randomBytes, subtle } from 'node:crypto';
import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib';

import { equalBytes, releaseBytes, u32be, utf8 } from '@azaion/kernel';

import { CryptoError } from './errors.js';
import { GCM_NONCE_BYTES, GCM_TAG_BYTES, gcmOpen, gcmOpenInto, gcmSealInto } from './primitives.js';
import { isSingleZstdFrame } from './zstd-frame.js';

/** The largest plaintext of a chunk: the chunker's maximum, and the bound for everything a reader allocates. */
export const MAX_CHUNK_BYTES = 512 * 1024;
const PAYLOAD_AT = 1 + GCM_NONCE_BYTES; // codec, nonce
/** Bytes a sealed chunk has beside its payload: codec, nonce, tag. */
export const CHUNK_OVERHEAD_BYTES = PAYLOAD_AT + GCM_TAG_BYTES;

const CODEC_STORED = 0;
const CODEC_ZSTD = 1;
const ZSTD_LEVEL = 3;
const SAMPLE_LEVEL = 1;
/** More than a frame is ever longer than a plaintext of at most {@link MAX_CHUNK_BYTES}: headers of frame and blocks, and a table for each. */
const MAX_ZSTD_GROWTH_BYTES = 4096;
const SAMPLE_BYTES = 16 * 1024;
const WORTHWHILE_RATIO = 0.95;
const MAX_WINDOW_LOG = 19; // 2^19 = MAX_CHUNK_BYTES
const MIN_ZLIB_BUFFER_BYTES = 64;
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
 * @param into - Where the sealed chunk is put, from its start on; it may share memory with nothing else that is in use. Without it there is a new buffer.
 * @returns The sealed chunk, at most `plaintext.length + CHUNK_OVERHEAD_BYTES` bytes.
 * @throws RangeError for a length that is not allowed or not that of `secrets`, and for too little room. The hash is not computed again.
 */
export function sealChunk(plaintext: Uint8Array, secrets: ChunkSecrets, into?: Uint8Array): Buffer {
  if (!isChunkLength(plaintext.length) || plaintext.length !== secrets.plaintextBytes)
    throw new RangeError('the plaintext is not one chunk');
  const compressed = compressIfWorthwhile(plaintext);
  const codec = compressed ? CODEC_ZSTD : CODEC_STORED;
  const payload = compressed ?? plaintext;
  const nonce = randomBytes(GCM_NONCE_BYTES);
  const sealed = roomFor(payload.length + CHUNK_OVERHEAD_BYTES, into);
  sealed[0] = codec;
  nonce.copy(sealed, 1);
  gcmSealInto(secrets.key, nonce, associatedData(codec, secrets), payload, sealed.subarray(PAYLOAD_AT));
  if (compressed) releaseCompressed(compressed);
  return sealed;
}

function roomFor(sealedBytes: number, into: Uint8Array | undefined): Buffer {
  if (into === undefined) return Buffer.allocUnsafe(sealedBytes);
  if (into.length < sealedBytes) throw new RangeError('there is no room for the sealed chunk');
  return Buffer.from(into.buffer, into.byteOffset, sealedBytes);
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
  const plaintext = decrypted(sealed, secrets);
  assertHash(hash('sha256', plaintext, 'buffer'), secrets);
  return plaintext;
}

/**
 * As {@link openChunk}; the hash, which is most of the work, is computed on a thread of the platform's pool, and the calling thread is free meanwhile.
 *
 * @throws as {@link openChunk}.
 */
export async function openChunkInPool(sealed: Uint8Array, secrets: ChunkSecrets): Promise<Buffer> {
  const plaintext = decrypted(sealed, secrets);
  assertHash(new Uint8Array(await subtle.digest('SHA-256', plaintext)), secrets);
  return plaintext;
}

/**
 * As {@link openChunk}, into memory that is there.
 *
 * @param target - Exactly as long as the plaintext. It holds anything at all when this throws.
 * @throws as {@link openChunk}.
 */
export function openChunkInto(sealed: Uint8Array, secrets: ChunkSecrets, target: Uint8Array): void {
  if (target.length !== secrets.plaintextBytes) throw invalidChunk();
  if (sealed[0] === CODEC_STORED && sealed.length === secrets.plaintextBytes + CHUNK_OVERHEAD_BYTES) {
    withPayload(sealed, secrets, (...payload) => gcmOpenInto(...payload, target));
  } else {
    const plaintext = decrypted(sealed, secrets);
    target.set(plaintext);
    releaseBytes(plaintext);
  }
  assertHash(hash('sha256', target, 'buffer'), secrets);
}

function assertHash(actual: Uint8Array, { h }: ChunkSecrets): void {
  if (!equalBytes(actual, h)) throw invalidChunk();
}

/** Everything but the hash, in memory that is nobody else's. */
function decrypted(sealed: Uint8Array, secrets: ChunkSecrets): Buffer {
  const { plaintextBytes } = secrets;
  const payload = withPayload(sealed, secrets, gcmOpen);
  const codec = sealed[0] ?? 0xff;
  if (codec === CODEC_STORED) {
    if (payload.length !== plaintextBytes) throw invalidChunk();
    return payload;
  }
  // Only now: an unauthenticated codec must not send the operator looking for a newer release.
  if (codec !== CODEC_ZSTD) {
    throw new CryptoError(
      'chunk.unsupported-codec',
      `This chunk uses codec ${codec}, which this release does not know: update to a newer release.`,
      { details: { codec } },
    );
  }
  const plaintext = decompress(payload, plaintextBytes);
  releaseBytes(payload);
  if (plaintext.length !== plaintextBytes) throw invalidChunk();
  return plaintext;
}

/** Hands out what opens the payload, once the lengths may be those of a chunk. @throws CryptoError `chunk.invalid` for whatever fails. */
function withPayload<Opened>(
  sealed: Uint8Array,
  secrets: ChunkSecrets,
  open: (key: Uint8Array, nonce: Uint8Array, aad: Uint8Array, payload: Uint8Array) => Opened,
): Opened {
  const { plaintextBytes, key } = secrets;
  if (
    !isChunkLength(plaintextBytes) ||
    sealed.length < CHUNK_OVERHEAD_BYTES ||
    sealed.length > plaintextBytes + CHUNK_OVERHEAD_BYTES
  )
    throw invalidChunk();
  try {
    const aad = associatedData(sealed[0] ?? 0xff, secrets);
    return open(key, sealed.subarray(1, PAYLOAD_AT), aad, sealed.subarray(PAYLOAD_AT));
  } catch (cause) {
    throw invalidChunk(cause);
  }
}

function isChunkLength(sizeBytes: number): boolean {
  return Number.isInteger(sizeBytes) && sizeBytes >= 1 && sizeBytes <= MAX_CHUNK_BYTES;
}

/** The one answer for damage and forgery. */
function invalidChunk(cause?: unknown): CryptoError {
  return new CryptoError('chunk.invalid', 'A chunk of the resource is damaged or forged.', { cause });
}

function associatedData(codec: number, secrets: ChunkSecrets): Buffer {
  return Buffer.concat([AAD_LABEL, Uint8Array.of(codec), secrets.h, u32be(secrets.plaintextBytes)]);
}

/** Tries a sample from the middle first, so that incompressible weights cost almost nothing. */
function compressIfWorthwhile(plaintext: Uint8Array): Buffer | undefined {
  if (plaintext.length > 4 * SAMPLE_BYTES) {
    const from = (plaintext.length - SAMPLE_BYTES) >>> 1;
    const sample = compress(plaintext.subarray(from, from + SAMPLE_BYTES), {
      [constants.ZSTD_c_compressionLevel]: SAMPLE_LEVEL,
    });
    const isWorthwhile = sample.length <= SAMPLE_BYTES * WORTHWHILE_RATIO;
    releaseCompressed(sample);
    if (!isWorthwhile) return undefined;
  }
  const compressed = compress(plaintext, {
    [constants.ZSTD_c_compressionLevel]: ZSTD_LEVEL,
    [constants.ZSTD_c_windowLog]: MAX_WINDOW_LOG,
  });
  if (compressed.length <= plaintext.length * WORTHWHILE_RATIO) return compressed;
  releaseCompressed(compressed);
  return undefined;
}

/** One frame, in one piece of memory with room for the worst case, and larger than what Node shares out. */
function compress(plaintext: Uint8Array, params: Readonly<Record<number, number>>): Buffer {
  const chunkSize = Math.max(Buffer.poolSize + 1, plaintext.length + MAX_ZSTD_GROWTH_BYTES);
  return zstdCompressSync(plaintext, { chunkSize, params });
}

/** Gives back what {@link compress} returned: as garbage, such memory would pile up between collections. */
function releaseCompressed({ buffer }: Buffer): void {
  if (buffer.byteLength > Buffer.poolSize) releaseBytes(new Uint8Array(buffer));
}

/** Exactly one zstd frame. The decoder bounds the window before it allocates one, and the output by the stated length. */
function decompress(frame: Buffer, plaintextBytes: number): Buffer {
  if (!isSingleZstdFrame(frame)) throw invalidChunk();
  try {
    return zstdDecompressSync(frame, {
      maxOutputLength: plaintextBytes,
      chunkSize: Math.max(plaintextBytes, MIN_ZLIB_BUFFER_BYTES), // one piece: several times as fast as the default
      params: { [constants.ZSTD_d_windowLogMax]: MAX_WINDOW_LOG },
    });
  } catch (cause) {
    throw invalidChunk(cause);
  }
}
