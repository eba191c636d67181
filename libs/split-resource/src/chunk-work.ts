import { createHash } from 'node:crypto';

import { type ChunkIdentity, type ChunkSecrets, identifyChunk, openChunk, sealChunk } from '@azaion/crypto';

/** What the calling thread hashes of a pack in one go: a millisecond or two. */
const DIGEST_STEP_BYTES = 512 * 1024;

/** A full pack with the hashes that it is announced with. */
export interface DigestedPack {
  /** The buffer that was given, or another one with its content. */
  readonly buffer: Buffer;
  readonly sha256: Uint8Array;
  readonly md5: Uint8Array;
}

/** Names and seals chunks, and hashes packs. A role of its own because it is what costs a publisher its time: it may happen on other threads. */
export abstract class ChunkSealer {
  /** How many chunks are worth having in work at once, 1 or more. */
  abstract readonly parallelism: number;
  /** Hashes a plaintext and derives its key and id in a dedup domain. */
  abstract identify(plaintext: Uint8Array, domainKey: Uint8Array): Promise<ChunkIdentity>;
  /** Seals a plaintext that {@link identify} named. @returns A new buffer. */
  abstract seal(plaintext: Uint8Array, secrets: ChunkSecrets): Promise<Buffer>;
  /**
   * Hashes the first bytes of a buffer.
   *
   * @param buffer - Its memory may be taken away: the one that comes back is to be used instead.
   */
  abstract digest(buffer: Buffer, sizeBytes: number): Promise<DigestedPack>;
}

/** Where one chunk lies in a {@link SealedRun}, and what opens it. */
export interface SealedPlace {
  /** First byte in the run. */
  readonly at: number;
  readonly sealedBytes: number;
  readonly secrets: ChunkSecrets;
}

/** Sealed chunks that lie in one piece of memory. */
export interface SealedRun {
  /** Untrusted. */
  readonly bytes: Uint8Array;
  /** Whether nobody else needs the bytes: an opener may then take their memory away. Otherwise it leaves them as they are. */
  readonly movable: boolean;
  /** Inside of the bytes, in the order of the plaintext. */
  readonly chunks: readonly SealedPlace[];
}

/** Plaintext of consecutive chunks whose tags and hashes were checked. */
export interface OpenedChunks {
  readonly plaintext: Buffer;
  /** How many chunks it is, 1 or more. */
  readonly count: number;
}

/** Opens sealed chunks. A role of its own because it is what costs a reader its time: it may happen on other threads. */
export abstract class ChunkOpener {
  /**
   * Opens the chunks of a run in their order. Work may begin before the first is asked for.
   *
   * @throws CryptoError `chunk.invalid` | `chunk.unsupported-codec` in the turn of the first chunk that does not open; all before it have been
   *   yielded then.
   */
  abstract open(run: SealedRun): AsyncGenerator<OpenedChunks, void>;
}

/** Seals on the calling thread. */
export class InlineChunkSealer extends ChunkSealer {
  override readonly parallelism = 1;

  override identify(plaintext: Uint8Array, domainKey: Uint8Array): Promise<ChunkIdentity> {
    return Promise.resolve(identifyChunk(plaintext, domainKey));
  }

  override seal(plaintext: Uint8Array, secrets: ChunkSecrets): Promise<Buffer> {
    return Promise.resolve(sealChunk(plaintext, secrets));
  }

  override async digest(buffer: Buffer, sizeBytes: number): Promise<DigestedPack> {
    const [sha256, md5] = [createHash('sha256'), createHash('md5')];
    for (let at = 0; at < sizeBytes; at += DIGEST_STEP_BYTES) {
      const step = buffer.subarray(at, Math.min(sizeBytes, at + DIGEST_STEP_BYTES));
      sha256.update(step);
      md5.update(step);
      await new Promise((resolve) => setImmediate(resolve)); // others have their turn
    }
    return { buffer, sha256: sha256.digest(), md5: md5.digest() };
  }
}

/** Opens on the calling thread, each chunk when its turn comes. */
export class InlineChunkOpener extends ChunkOpener {
  // Async because others work elsewhere.
  // eslint-disable-next-line @typescript-eslint/require-await
  override async *open({ bytes, chunks }: SealedRun): AsyncGenerator<OpenedChunks, void> {
    for (const { at, sealedBytes, secrets } of chunks)
      yield { plaintext: openChunk(bytes.subarray(at, at + sealedBytes), secrets), count: 1 };
  }
}
