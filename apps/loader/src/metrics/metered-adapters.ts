import type { Readable } from 'node:stream';

import { CryptoError, type SegmentKind } from '@azaion/crypto';
import { type ByteRange, DomainError, type ResourceName } from '@azaion/kernel';
import {
  ChunkOpener,
  type GrantAnswer,
  GrantApi,
  type GrantRequest,
  type OpenedChunks,
  type PackId,
  type PackLocation,
  type PackRef,
  PackSink,
  PackSource,
  PackStore,
  type PackTarget,
  type PackUrl,
  type SealedRun,
  type UploadApi,
} from '@azaion/split-resource';

import type { LoaderAdapters } from '../loader-adapters.js';
import { CallerApis, type TokenBearer } from '../session/caller-apis.js';
import type { LoaderMetrics } from './loader-metrics.js';

/** The same adapters, each counted where bytes, chunks and grants pass. Nothing else about them changes. */
export function meteredAdapters(adapters: LoaderAdapters, metrics: LoaderMetrics): LoaderAdapters {
  const { apis, sources, sink, store, opener, sessions, device } = adapters;
  metrics.watch({
    usage: () => store.usage(),
    sessions: () => sessions.size,
    deviceLoggedIn: () => device?.authenticated === true,
  });
  return {
    ...adapters,
    apis: new MeteredCallerApis(apis, metrics),
    sources: sources.map((source) => new MeteredPackSource(source, metrics)),
    sink: new MeteredPackSink(sink, metrics),
    store: new MeteredPackStore(store, metrics),
    opener: new MeteredChunkOpener(opener, metrics),
  };
}

class MeteredPackSource extends PackSource {
  override readonly remote: boolean;

  constructor(
    private readonly inner: PackSource,
    private readonly metrics: LoaderMetrics,
  ) {
    super();
    this.remote = inner.remote;
  }

  override async open(
    location: PackLocation,
    range: ByteRange,
    deadlineMs: number,
    signal?: AbortSignal,
  ): Promise<Readable> {
    const origin = this.remote ? 'cdn' : 'disk';
    try {
      const stream = await this.inner.open(location, range, deadlineMs, signal);
      // The end comes only when every byte was read; a listener for data would take the stream out of its reader's hands.
      stream.once('end', () => this.metrics.readPack(origin, range.end - range.start));
      stream.once('error', (error) => this.metrics.packFailed(origin, codeOf(error)));
      return stream;
    } catch (error) {
      this.metrics.packFailed(origin, codeOf(error));
      throw error;
    }
  }
}

class MeteredPackSink extends PackSink {
  constructor(
    private readonly inner: PackSink,
    private readonly metrics: LoaderMetrics,
  ) {
    super();
  }

  override async put(
    target: PackTarget,
    parts: readonly Uint8Array[],
    deadlineMs: number,
    signal?: AbortSignal,
  ): Promise<void> {
    await this.inner.put(target, parts, deadlineMs, signal);
    this.metrics.uploaded(parts.reduce((bytes, part) => bytes + part.length, 0));
  }
}

class MeteredPackStore extends PackStore {
  constructor(
    private readonly inner: PackStore,
    private readonly metrics: LoaderMetrics,
  ) {
    super();
  }

  override async read(folderId: string, pack: PackRef, range: ByteRange): Promise<Buffer | undefined> {
    const bytes = await this.inner.read(folderId, pack, range);
    if (bytes !== undefined) this.metrics.readPack('cache', bytes.length);
    return bytes;
  }

  override missing(folderId: string, pack: PackRef, range: ByteRange): Promise<readonly ByteRange[]> {
    return this.inner.missing(folderId, pack, range);
  }

  override write(folderId: string, pack: PackRef, startByte: number, bytes: Uint8Array): Promise<void> {
    return this.inner.write(folderId, pack, startByte, bytes);
  }

  override discard(folderId: string, pack: PackRef, range: ByteRange): Promise<void> {
    return this.inner.discard(folderId, pack, range);
  }

  override reserve(bytes: number): Promise<void> {
    return this.inner.reserve(bytes);
  }

  override capacityBytes(): Promise<number> {
    return this.inner.capacityBytes();
  }

  override usage(): Promise<{ readonly bytes: number; readonly limitBytes: number }> {
    return this.inner.usage();
  }

  override spare(...call: Parameters<PackStore['spare']>): ReturnType<PackStore['spare']> {
    return this.inner.spare(...call);
  }
}

class MeteredChunkOpener extends ChunkOpener {
  constructor(
    private readonly inner: ChunkOpener,
    private readonly metrics: LoaderMetrics,
  ) {
    super();
  }

  override open(run: SealedRun): AsyncGenerator<OpenedChunks, void> {
    return this.counted(this.inner.open(run)); // the work begins at once
  }

  private async *counted(opened: AsyncGenerator<OpenedChunks, void>): AsyncGenerator<OpenedChunks, void> {
    try {
      yield* opened;
    } catch (error) {
      if (error instanceof CryptoError && error.code === 'chunk.invalid') this.metrics.chunkFailed();
      throw error;
    }
  }
}

class MeteredCallerApis extends CallerApis {
  constructor(
    private readonly inner: CallerApis,
    private readonly metrics: LoaderMetrics,
  ) {
    super();
  }

  override grants(bearer: TokenBearer, signal: AbortSignal): GrantApi {
    return new MeteredGrantApi(this.inner.grants(bearer, signal), this.metrics);
  }

  override uploads(bearer: TokenBearer): UploadApi {
    return this.inner.uploads(bearer);
  }

  override archiveKeys(bearer: TokenBearer): ReturnType<CallerApis['archiveKeys']> {
    return this.inner.archiveKeys(bearer);
  }

  override list(bearer: TokenBearer, folder: string): ReturnType<CallerApis['list']> {
    return this.inner.list(bearer, folder);
  }
}

class MeteredGrantApi extends GrantApi {
  constructor(
    private readonly inner: GrantApi,
    private readonly metrics: LoaderMetrics,
  ) {
    super();
  }

  override async grant(request: GrantRequest): Promise<GrantAnswer> {
    try {
      const answer = await this.inner.grant(request);
      this.metrics.granted('granted');
      return answer;
    } catch (error) {
      this.metrics.granted(codeOf(error));
      throw error;
    }
  }

  override segment(grantId: string, kind: SegmentKind, index: number, maxBytes: number): Promise<Uint8Array> {
    return this.inner.segment(grantId, kind, index, maxBytes);
  }

  override packUrls(grantId: string, packIds: readonly PackId[]): Promise<readonly PackUrl[]> {
    return this.inner.packUrls(grantId, packIds);
  }

  override reportBadChunk(resource: ResourceName, version: number, chunk: number): Promise<void> {
    return this.inner.reportBadChunk(resource, version, chunk);
  }
}

/** Of a closed set: whatever has no code is one value. */
function codeOf(error: unknown): string {
  return error instanceof DomainError ? String(error.code) : 'other';
}
