import { CryptoError } from './errors.js';
import { type ChunkSecrets, openChunkInto } from './sealed-chunk.js';

/** Where one chunk lies in a run of sealed bytes, and what opens it. */
export interface SealedPlace {
  /** First byte in the run. */
  readonly at: number;
  readonly sealedBytes: number;
  readonly secrets: ChunkSecrets;
}

/** What came of a run: the chunks up to the first that did not open. */
export interface OpenedRun {
  /** Of the chunks that opened, one after another, in the memory that was given. */
  readonly plaintext: Uint8Array;
  /** How many opened. */
  readonly count: number;
  /** Why the next chunk did not open; absent when all did. */
  readonly refusal?: CryptoError;
}

/** How long the plaintext of these chunks is together. */
export function plaintextBytesOf(chunks: readonly SealedPlace[]): number {
  return chunks.reduce((sum, { secrets }) => sum + secrets.plaintextBytes, 0);
}

/**
 * Opens chunk after chunk, each with all the checks of `openChunk`, into one piece of plaintext.
 *
 * @param bytes - Untrusted.
 * @param chunks - From an authenticated recipe; inside of the bytes.
 * @param target - At least {@link plaintextBytesOf} them. What did not open leaves nothing in it.
 * @throws Nothing that the bytes can bring about: that is the run's `refusal`.
 */
export function openChunkRun(bytes: Uint8Array, chunks: readonly SealedPlace[], target: Uint8Array): OpenedRun {
  let end = 0;
  for (const [count, { at, sealedBytes, secrets }] of chunks.entries()) {
    const place = target.subarray(end, end + secrets.plaintextBytes);
    try {
      openChunkInto(bytes.subarray(at, at + sealedBytes), secrets, place);
    } catch (error) {
      if (!(error instanceof CryptoError)) throw error;
      place.fill(0);
      return { plaintext: target.subarray(0, end), count, refusal: error };
    }
    end += secrets.plaintextBytes;
  }
  return { plaintext: target.subarray(0, end), count: chunks.length };
}
