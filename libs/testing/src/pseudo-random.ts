import { createCipheriv, createHash } from 'node:crypto';
import { Readable } from 'node:stream';

const PIECE_BYTES = 256 * 1024;

/**
 * A stream of bytes that looks random, does not compress, and is the same for the same seed on every machine: the
 * AES-256-CTR key stream under SHA-256 of the seed, about 1 GB/s. Not for keys.
 */
export function pseudoRandomStream(seed: string, sizeBytes: number): Readable {
  return Readable.from(pseudoRandomPieces(seed, sizeBytes), { objectMode: false, highWaterMark: PIECE_BYTES });
}

/** The bytes of `pseudoRandomStream` at once. */
export function pseudoRandomBytes(seed: string, sizeBytes: number): Buffer {
  return keyStream(seed).update(Buffer.alloc(sizeBytes));
}

/** The bytes of `pseudoRandomStream`, 256 KiB at a time. */
export function* pseudoRandomPieces(seed: string, sizeBytes: number): Generator<Buffer> {
  const cipher = keyStream(seed);
  const zeros = Buffer.alloc(PIECE_BYTES);
  for (let left = sizeBytes; left > 0; left -= PIECE_BYTES)
    yield cipher.update(zeros.subarray(0, Math.min(left, PIECE_BYTES)));
}

function keyStream(seed: string): ReturnType<typeof createCipheriv> {
  return createCipheriv('aes-256-ctr', createHash('sha256').update(seed).digest(), Buffer.alloc(16));
}
