import { type ChunkIdentity, type ChunkSecrets, identifyChunk, openChunk, sealChunk } from '@azaion/crypto';

/** Names and seals chunks. A role of its own because it is what costs a publisher its time: it may happen on other threads. */
export abstract class ChunkSealer {
  /** How many chunks are worth having in work at once, 1 or more. */
  abstract readonly parallelism: number;
  /** Hashes a plaintext and derives its key and id in a dedup domain. */
  abstract identify(plaintext: Uint8Array, domainKey: Uint8Array): Promise<ChunkIdentity>;
  /** Seals a plaintext that {@link identify} named. @returns A new buffer. */
  abstract seal(plaintext: Uint8Array, secrets: ChunkSecrets): Promise<Buffer>;
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
