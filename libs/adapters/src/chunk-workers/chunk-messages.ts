import { CHUNK_ID_BYTES, type ChunkSecrets, type CryptoErrorCode, KEY_BYTES } from '@azaion/crypto/chunks';
import type { ByteRange } from '@azaion/kernel';
import type { ChunkIdentity, ChunkToSeal, PublishHash, SealedPlace } from '@azaion/split-resource';

/**
 * What the pool asks of a thread. The bytes of `open` are moved; windows, targets and what is hashed lie in memory that all threads see. Lists of
 * chunks travel as one piece of bytes each: a message of many small arrays costs more than what it asks for.
 */
export type ChunkTask =
  | {
      readonly work: 'open';
      readonly bytes: Uint8Array;
      readonly chunks: readonly SealedPlace[];
      readonly into: OpenFilePlace | undefined;
    }
  | {
      readonly work: 'identify';
      readonly window: Uint8Array;
      /** {@link writeRanges}. */
      readonly chunks: Uint32Array;
      readonly domainKey: Uint8Array;
    }
  | {
      readonly work: 'seal';
      readonly window: Uint8Array;
      /** {@link writeChunksToSeal}. */
      readonly chunks: Uint8Array;
      readonly target: Uint8Array;
    }
  | {
      readonly work: 'hash';
      /** Number of the running hash. */
      readonly hash: number;
      readonly algorithm: PublishHash;
      readonly bytes: Uint8Array;
    }
  | { readonly work: 'digest'; readonly hash: number; readonly algorithm: PublishHash }
  | { readonly work: 'forget'; readonly hash: number };

/** A place in a file that this process holds open. */
export interface OpenFilePlace {
  readonly descriptor: number;
  readonly position: number;
}

/** A task with the number by which its answer is found. */
export type ChunkRequest = ChunkTask & { readonly id: number };

/** What a thread answers. */
export type ChunkAnswer =
  | { readonly id: number; readonly done: true }
  | { readonly id: number; readonly opened: OpenedRun }
  | { readonly id: number; readonly digest: Uint8Array }
  | { readonly id: number; readonly sealedLengths: readonly number[] }
  /** {@link writeIdentities}. */
  | { readonly id: number; readonly identities: Uint8Array }
  | { readonly id: number; readonly code: CryptoErrorCode; readonly message: string }
  /** What nobody foresaw, or what the system said, with its code. */
  | { readonly id: number; readonly crash: string; readonly systemCode?: string };

/** What came of a run: the chunks up to the first that did not open. */
export interface OpenedRun {
  /** Empty when it went into a file. */
  readonly plaintext: Uint8Array;
  readonly plaintextBytes: number;
  readonly count: number;
  /** Why the next chunk did not open; absent when all did. */
  readonly refusal?: { readonly code: CryptoErrorCode; readonly message: string };
}

/** Start and end of each range. */
export function writeRanges(ranges: readonly ByteRange[]): Uint32Array {
  const written = new Uint32Array(ranges.length * 2);
  ranges.forEach(({ start, end }, index) => written.set([start, end], index * 2));
  return written;
}

/** The ranges that {@link writeRanges} wrote. */
export function readRanges(written: Uint32Array): ByteRange[] {
  return Array.from({ length: written.length / 2 }, (_, index) => ({
    start: written[index * 2] as number,
    end: written[index * 2 + 1] as number,
  }));
}

const IDENTITY_BYTES = KEY_BYTES + KEY_BYTES + CHUNK_ID_BYTES;

/** Hash, key and id of each chunk. */
export function writeIdentities(identities: readonly ChunkIdentity[]): Uint8Array {
  const written = new Uint8Array(identities.length * IDENTITY_BYTES);
  identities.forEach(({ h, key, id }, index) => {
    const at = index * IDENTITY_BYTES;
    written.set(h, at);
    written.set(key, at + KEY_BYTES);
    written.set(id, at + 2 * KEY_BYTES);
  });
  return written;
}

/** The identities that {@link writeIdentities} wrote, as views. @param ranges - Of the same chunks. */
export function readIdentities(written: Uint8Array, ranges: readonly ByteRange[]): ChunkIdentity[] {
  return ranges.map(({ start, end }, index) => {
    const at = index * IDENTITY_BYTES;
    return {
      h: written.subarray(at, at + KEY_BYTES),
      key: written.subarray(at + KEY_BYTES, at + 2 * KEY_BYTES),
      id: written.subarray(at + 2 * KEY_BYTES, at + IDENTITY_BYTES),
      plaintextBytes: end - start,
    };
  });
}

const TO_SEAL_BYTES = 4 + 4 + KEY_BYTES + KEY_BYTES;

/** Start, end, hash and key of each chunk. */
export function writeChunksToSeal(chunks: readonly ChunkToSeal[]): Uint8Array {
  const written = new Uint8Array(chunks.length * TO_SEAL_BYTES);
  const view = new DataView(written.buffer);
  chunks.forEach(({ range, secrets }, index) => {
    const at = index * TO_SEAL_BYTES;
    view.setUint32(at, range.start);
    view.setUint32(at + 4, range.end);
    written.set(secrets.h, at + 8);
    written.set(secrets.key, at + 8 + KEY_BYTES);
  });
  return written;
}

/** The chunks that {@link writeChunksToSeal} wrote, with views. */
export function readChunksToSeal(written: Uint8Array): ChunkToSeal[] {
  const view = new DataView(written.buffer, written.byteOffset, written.byteLength);
  return Array.from({ length: written.length / TO_SEAL_BYTES }, (_, index) => {
    const at = index * TO_SEAL_BYTES;
    const range = { start: view.getUint32(at), end: view.getUint32(at + 4) };
    const secrets: ChunkSecrets = {
      h: written.subarray(at + 8, at + 8 + KEY_BYTES),
      key: written.subarray(at + 8 + KEY_BYTES, at + TO_SEAL_BYTES),
      plaintextBytes: range.end - range.start,
    };
    return { range, secrets };
  });
}
