import { type ChunkSecrets, type CryptoErrorCode } from '@azaion/crypto';
import { type ChunkIdentity, type SealedPlace } from '@azaion/split-resource';

/** What the pool asks of a thread. Bytes are moved, not copied. */
export type ChunkTask =
  | { readonly work: 'open'; readonly bytes: Uint8Array; readonly chunks: readonly SealedPlace[] }
  | { readonly work: 'identify'; readonly bytes: Uint8Array; readonly domainKey: Uint8Array }
  | { readonly work: 'seal'; readonly bytes: Uint8Array; readonly secrets: ChunkSecrets }
  | { readonly work: 'digest'; readonly bytes: Uint8Array; readonly sizeBytes: number };

/** A task with the number by which its answer is found. */
export type ChunkRequest = ChunkTask & { readonly id: number };

/** What a thread answers. */
export type ChunkAnswer =
  | { readonly id: number; readonly bytes: Uint8Array }
  | { readonly id: number; readonly opened: OpenedRun }
  | { readonly id: number; readonly digested: DigestedBytes }
  | { readonly id: number; readonly identity: ChunkIdentity }
  | { readonly id: number; readonly code: CryptoErrorCode; readonly message: string }
  | { readonly id: number; readonly crash: string };

/** What came of a run: the chunks up to the first that did not open. */
export interface OpenedRun {
  readonly plaintext: Uint8Array;
  readonly count: number;
  /** Why the next chunk did not open; absent when all did. */
  readonly refusal?: { readonly code: CryptoErrorCode; readonly message: string };
}

/** Hashes of a pack, whose memory goes back. */
export interface DigestedBytes {
  readonly bytes: Uint8Array;
  readonly sha256: Uint8Array;
  readonly md5: Uint8Array;
}
