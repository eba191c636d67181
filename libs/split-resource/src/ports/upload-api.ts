import type { ResourceKind, SegmentKind, StatementImage } from '@azaion/crypto';
import type { ResourceName } from '@azaion/kernel';

import type { ChunkingParameters } from '../chunker.js';
import type { PackId } from '../pack.js';
import type { PackTarget } from './pack-sink.js';

/** An upload in the making. */
export interface OpenedUpload {
  readonly uploadId: string;
  readonly folderId: string;
  readonly resourceId: string;
  /** Number of the dedup domain inside the folder, 0 to 65535. */
  readonly domain: number;
  /** The domain's secret `K`, 32 bytes. */
  readonly dedupKey: Uint8Array;
  readonly chunking: ChunkingParameters;
  readonly packTargetBytes: number;
  /** Whether packs are announced with their MD5, because the object store checks it. */
  readonly packMd5: boolean;
  /** Seconds since 1970; extended by a heartbeat. */
  readonly expiresAt: number;
}

/** A chunk the caller may reuse instead of sending it. */
export interface KnownChunk {
  /** Hexadecimal chunk id. */
  readonly id: string;
  readonly packId: PackId;
  readonly packSizeBytes: number;
  /** 32 bytes. */
  readonly packSha256: Uint8Array;
  readonly offset: number;
  readonly sealedBytes: number;
}

/** A pack that has been sealed and is to be written. */
export interface NewPack {
  readonly sizeBytes: number;
  /** 32 bytes. */
  readonly sha256: Uint8Array;
  /** 16 bytes; where {@link OpenedUpload.packMd5} asks for it. */
  readonly md5?: Uint8Array | undefined;
}

/** Where one chunk lies in a pack. */
export interface PackedChunk {
  /** 16 bytes. */
  readonly id: Uint8Array;
  readonly offset: number;
  readonly sealedBytes: number;
}

/** What turns an upload into a version. */
export interface CommitRequest {
  /** The key of the draft segments, 32 bytes. */
  readonly recipeKey: Uint8Array;
  readonly kind: ResourceKind;
  readonly chunkSegments: number;
  readonly packSegments: number;
  /** For `images` archives only. */
  readonly images?: readonly StatementImage[];
}

/** Most ids one call of {@link UploadApi.knownChunks} may name. */
export const MAX_KNOWN_CHUNK_IDS = 4096;

/**
 * The Admin API as a publisher sees it (F3), for one caller. Source: docs/reference/sealed-wire.md.
 * Every method throws ResourceError `api.unauthorized` | `api.forbidden` | `api.unreachable` | `api.unexpected` beside what it names.
 */
export abstract class UploadApi {
  /** Opens an upload. @throws ResourceError `resource.forbidden` | `upload.too-many-drafts`. */
  abstract open(name: ResourceName): Promise<OpenedUpload>;

  /** Which chunks need not be sent. @param ids - Hexadecimal, at most {@link MAX_KNOWN_CHUNK_IDS}. */
  abstract knownChunks(uploadId: string, ids: readonly string[]): Promise<readonly KnownChunk[]>;

  /** Announces a pack. @throws ResourceError `upload.not-found` | `upload.quota-exceeded` | `upload.too-many-drafts`. */
  abstract addPack(uploadId: string, pack: NewPack): Promise<{ readonly packId: PackId; readonly target: PackTarget }>;

  /** Registers which chunks a pack holds, so that an interrupted publish finds them again once it is written. @param chunks - At most `MAX_CHUNKS_PER_PACK`. */
  abstract putChunkTable(uploadId: string, packId: PackId, chunks: readonly PackedChunk[]): Promise<void>;

  /** Hands in a draft segment of the recipe (ADR 0003). */
  abstract putSegment(uploadId: string, kind: SegmentKind, index: number, sealed: Uint8Array): Promise<void>;

  /**
   * Makes the upload a version. Idempotent by upload id.
   *
   * @returns The version, and whether it is new: bytes equal to the latest version make none.
   * @throws ResourceError `upload.pack-gone` | `upload.refused` | `upload.conflict`.
   */
  abstract commit(
    uploadId: string,
    request: CommitRequest,
  ): Promise<{ readonly version: number; readonly created: boolean }>;

  /** Extends the upload's life. */
  abstract heartbeat(uploadId: string): Promise<void>;

  /** Gives the upload up; packs that were written can still be found again. */
  abstract abandon(uploadId: string): Promise<void>;
}
