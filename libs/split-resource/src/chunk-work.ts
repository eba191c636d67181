import { createHash } from 'node:crypto';

import {
  type ChunkIdentity,
  type ChunkSecrets,
  identifyChunk,
  openChunkInPool,
  type SealedPlace,
  sealChunk,
} from '@azaion/crypto';
import { type ByteRange, releaseBytes } from '@azaion/kernel';

import { inOrder } from './in-order.js';
import type { PlaintextFile } from './ports/plaintext-file.js';
import { TURN_BYTES, Turns } from './turns.js';

/** A chunk that was named and is to be sealed. */
export interface ChunkToSeal {
  /** Its plaintext in the window. */
  readonly range: ByteRange;
  readonly secrets: ChunkSecrets;
}

/** Hash functions of a publish: the format's own, and the one that some object stores check. */
export type PublishHash = 'sha256' | 'md5';

/** A hash over bytes that come piece by piece. */
export abstract class RunningHash {
  /**
   * Adds the next bytes. May be called before earlier calls have ended.
   *
   * @param bytes - In memory of the sealer's; they stay as they are until the promise settles.
   */
  abstract update(bytes: Uint8Array): Promise<void>;
  /** Ends the hash. @throws what an update threw. */
  abstract digest(): Promise<Uint8Array>;
}

/**
 * Names and seals chunks, and hashes. A role of its own because it is what costs a publisher its time: it may happen on other threads, which see
 * the memory that {@link ChunkSealer.allocate} gives and copy nothing. Chunks come in batches because a message between threads costs as much as
 * a few kilobytes of hashing.
 */
export abstract class ChunkSealer {
  /** How many batches are worth having in work at once, 1 or more. */
  abstract readonly parallelism: number;
  /** Memory for what the other methods are given. Its content is whatever it is; it may be used again and again. */
  abstract allocate(sizeBytes: number): Uint8Array;
  /** Takes memory back, once. Whoever allocated it neither reads nor writes it any more; tasks that were given it may still be under way. */
  abstract release(memory: Uint8Array): void;
  /** Hashes the plaintext of chunks and derives their keys and ids in a dedup domain. @param window - From {@link allocate}. */
  abstract identify(
    window: Uint8Array,
    chunks: readonly ByteRange[],
    domainKey: Uint8Array,
  ): Promise<readonly ChunkIdentity[]>;
  /**
   * Seals chunks that {@link identify} named.
   *
   * @param window - From {@link allocate}; left as it is.
   * @param target - From {@link allocate}, with room for every plaintext and its overhead: the sealed chunks are put there one after another, from its start.
   * @returns The sealed lengths in order.
   */
  abstract seal(window: Uint8Array, chunks: readonly ChunkToSeal[], target: Uint8Array): Promise<readonly number[]>;
  /** Begins a hash. @param signal - Gives it up: nothing of it is kept any more. */
  abstract hashing(algorithm: PublishHash, signal: AbortSignal): RunningHash;
}

/** Sealed chunks that lie in one piece of memory. */
export interface SealedRun {
  /** Untrusted. */
  readonly bytes: Uint8Array;
  /** Whether nobody else needs the bytes: an opener may then take their memory away. Otherwise it leaves them as they are. */
  readonly movable: boolean;
  /** Inside of the bytes, in the order of the plaintext. */
  readonly chunks: readonly SealedPlace[];
  /** Where the plaintext goes, once it is checked; handed out when left out. */
  readonly into?: PlaintextPlace | undefined;
}

/** Where in a file the plaintext of a run begins. */
export interface PlaintextPlace {
  readonly file: PlaintextFile;
  readonly position: number;
}

/** Plaintext of consecutive chunks whose tags and hashes were checked. */
export interface OpenedChunks {
  /** Empty when it went into a file. */
  readonly plaintext: Buffer;
  readonly plaintextBytes: number;
  /** How many chunks it is, 1 or more. */
  readonly count: number;
}

/** Opens sealed chunks. A role of its own because it is what costs a reader its time: it may happen on other threads. */
export abstract class ChunkOpener {
  /**
   * Opens the chunks of a run in their order. Work may begin before the first is asked for.
   *
   * @throws CryptoError `chunk.invalid` | `chunk.unsupported-codec` in the turn of the first chunk that does not open; all before it have been
   *   yielded then. What the file of the run throws.
   */
  abstract open(run: SealedRun): AsyncGenerator<OpenedChunks, void>;
}

/** Seals on the calling thread; others have their turn after every megabyte. */
export class InlineChunkSealer extends ChunkSealer {
  override readonly parallelism = 1;

  override allocate(sizeBytes: number): Uint8Array {
    return new Uint8Array(sizeBytes);
  }

  override release(memory: Uint8Array): void {
    releaseBytes(memory);
  }

  override async identify(
    window: Uint8Array,
    chunks: readonly ByteRange[],
    domainKey: Uint8Array,
  ): Promise<readonly ChunkIdentity[]> {
    const turns = new Turns();
    const identities: ChunkIdentity[] = [];
    for (const { start, end } of chunks) {
      await turns.take(end - start);
      identities.push(identifyChunk(window.subarray(start, end), domainKey));
    }
    return identities;
  }

  override async seal(
    window: Uint8Array,
    chunks: readonly ChunkToSeal[],
    target: Uint8Array,
  ): Promise<readonly number[]> {
    const turns = new Turns();
    const lengths: number[] = [];
    let at = 0;
    for (const { range, secrets } of chunks) {
      await turns.take(range.end - range.start);
      const { length } = sealChunk(window.subarray(range.start, range.end), secrets, target.subarray(at));
      at += length;
      lengths.push(length);
    }
    return lengths;
  }

  override hashing(algorithm: PublishHash, signal: AbortSignal): RunningHash {
    return new InlineHash(algorithm, signal);
  }
}

class InlineHash extends RunningHash {
  private readonly hash;
  private added: Promise<void> = Promise.resolve();

  constructor(
    algorithm: PublishHash,
    private readonly signal: AbortSignal,
  ) {
    super();
    this.hash = createHash(algorithm);
  }

  override update(bytes: Uint8Array): Promise<void> {
    this.added = this.added.then(() => this.add(bytes));
    return this.added;
  }

  override async digest(): Promise<Uint8Array> {
    await this.added;
    return this.hash.digest();
  }

  private async add(bytes: Uint8Array): Promise<void> {
    const turns = new Turns();
    for (let at = 0; at < bytes.length; at += TURN_BYTES) {
      await turns.take(Math.min(TURN_BYTES, bytes.length - at));
      if (this.signal.aborted) return; // nobody needs it, and the memory may be gone
      this.hash.update(bytes.subarray(at, at + TURN_BYTES));
    }
  }
}

const NOTHING = Buffer.alloc(0);

/** Chunks of a read that are in work before their turn where the calling thread opens them: as many as the platform's pool has threads. */
export const CHUNKS_AHEAD = 4;

/** Decrypts on the calling thread and hashes in the platform's pool, a few chunks ahead of the one whose turn it is. */
export class InlineChunkOpener extends ChunkOpener {
  override async *open({ bytes, chunks, into }: SealedRun): AsyncGenerator<OpenedChunks, void> {
    const opening = inOrder(chunks, CHUNKS_AHEAD, ({ at, sealedBytes, secrets }) =>
      openChunkInPool(bytes.subarray(at, at + sealedBytes), secrets),
    );
    let position = into?.position ?? 0;
    for (;;) {
      const opened = opening.next();
      const writing = into && written(opened, { ...into, position });
      if (writing !== undefined) into?.file.usedBy(writing);
      await writing;
      const { value: plaintext } = await opened;
      if (plaintext === undefined) return;
      const plaintextBytes = plaintext.length;
      position += plaintextBytes;
      if (into !== undefined) releaseBytes(plaintext);
      yield { plaintext: into === undefined ? plaintext : NOTHING, plaintextBytes, count: 1 };
    }
  }
}

async function written(
  opened: Promise<IteratorResult<Buffer, void>>,
  { file, position }: PlaintextPlace,
): Promise<void> {
  const { value: plaintext } = await opened;
  if (plaintext !== undefined) await file.write(plaintext, position);
}
