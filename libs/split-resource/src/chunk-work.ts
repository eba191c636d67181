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

/** Opens sealed chunks. A role of its own because it is what costs a reader its time: it may happen on other threads. */
export abstract class ChunkOpener {
  /** How many chunks are worth having in work at once, 1 or more. */
  abstract readonly parallelism: number;
  /**
   * Opens one sealed chunk.
   *
   * @param sealed - Untrusted bytes; left as they are.
   * @returns Plaintext whose tag and hash were checked.
   * @throws CryptoError `chunk.invalid` | `chunk.unsupported-codec`.
   */
  abstract open(sealed: Uint8Array, secrets: ChunkSecrets): Promise<Buffer>;
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

/** Opens on the calling thread. */
export class InlineChunkOpener extends ChunkOpener {
  override readonly parallelism = 1;

  // Async, so that a refusal is a rejection.
  // eslint-disable-next-line @typescript-eslint/require-await
  override async open(sealed: Uint8Array, secrets: ChunkSecrets): Promise<Buffer> {
    return openChunk(sealed, secrets);
  }
}
