import type { SegmentKind } from '@azaion/crypto';

import { repeatWhileUnreachable, type RetryPolicy } from '../backoff.js';
import type { PackId } from '../pack.js';
import type { PackTarget } from '../ports/pack-sink.js';
import type { CommitRequest, KnownChunk, NewPack, PackedChunk, UploadApi } from '../ports/upload-api.js';

/** One upload in use: its calls are repeated while the Admin API is out of reach. All of them may be made twice. */
export class HeldUpload {
  constructor(
    private readonly api: UploadApi,
    private readonly uploadId: string,
    private readonly retry: RetryPolicy,
    private readonly signal: AbortSignal,
  ) {}

  /** @see UploadApi.knownChunks */
  knownChunks(ids: readonly string[]): Promise<readonly KnownChunk[]> {
    return this.repeat(() => this.api.knownChunks(this.uploadId, ids));
  }

  /** @see UploadApi.addPack */
  addPack(pack: NewPack): Promise<{ readonly packId: PackId; readonly target: PackTarget }> {
    return this.repeat(() => this.api.addPack(this.uploadId, pack));
  }

  /** @see UploadApi.putChunkTable */
  putChunkTable(packId: PackId, chunks: readonly PackedChunk[]): Promise<void> {
    return this.repeat(() => this.api.putChunkTable(this.uploadId, packId, chunks));
  }

  /** @see UploadApi.putSegment */
  putSegment(kind: SegmentKind, index: number, sealed: Uint8Array): Promise<void> {
    return this.repeat(() => this.api.putSegment(this.uploadId, kind, index, sealed));
  }

  /** @see UploadApi.commit */
  commit(request: CommitRequest): Promise<{ readonly version: number; readonly created: boolean }> {
    return this.repeat(() => this.api.commit(this.uploadId, request));
  }

  /** @see UploadApi.heartbeat */
  heartbeat(): Promise<void> {
    return this.repeat(() => this.api.heartbeat(this.uploadId));
  }

  private repeat<Answer>(call: () => Promise<Answer>): Promise<Answer> {
    return repeatWhileUnreachable(call, this.retry, this.signal);
  }
}
