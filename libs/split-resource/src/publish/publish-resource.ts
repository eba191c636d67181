import { createHash } from 'node:crypto';
import { type Readable } from 'node:stream';

import {
  CHUNK_OVERHEAD_BYTES,
  type ChunkIdentity,
  DRAFT_VERSION,
  newRecipeKey,
  type ResourceKind,
  type StatementImage,
} from '@azaion/crypto';
import { releaseBytes, type ResourceName, toHex } from '@azaion/kernel';

import { DEFAULT_RETRY, type RetryPolicy } from '../backoff.js';
import { type ChunkSealer, InlineChunkSealer } from '../chunk-work.js';
import { Chunker } from '../chunker.js';
import { ResourceError } from '../errors.js';
import { inOrder } from '../in-order.js';
import { MAX_PACK_BYTES, PACK_ID_PATTERN, type PackRef } from '../pack.js';
import { type PackSink } from '../ports/pack-sink.js';
import { type KnownChunk, MAX_KNOWN_CHUNK_IDS, type OpenedUpload, type UploadApi } from '../ports/upload-api.js';
import { RecipeBuilder } from '../recipe/recipe-builder.js';
import { ChunkIndex, type ChunkPosition } from './chunk-index.js';
import { HeldUpload } from './held-upload.js';
import { PackWriter } from './pack-writer.js';

/** Plaintext that is cut, hashed and asked about at a time; two such windows are in memory. */
const WINDOW_BYTES = 4 * 1024 * 1024;
/** Longest time without a heartbeat. Uploads live for hours. */
const HEARTBEAT_MS = 5 * 60_000;

/** What to publish. */
export interface PublishRequest {
  readonly resource: ResourceName;
  readonly kind: ResourceKind;
  /** The plaintext; read once, front to back, and destroyed at the end whatever happens. */
  readonly content: Readable;
  /** Refuse anything longer with `resource.too-large`. */
  readonly maxBytes: number;
  /** For `images`: called after the whole content was read, with what {@link PublishRequest.content} turned out to hold. */
  readonly images?: () => Promise<readonly StatementImage[]>;
  /** Called now and then with running totals. */
  readonly onProgress?: (progress: PublishProgress) => void;
  readonly signal?: AbortSignal;
}

/** Running totals of a publish. */
export interface PublishProgress {
  /** Plaintext bytes read so far. */
  readonly readBytes: number;
  /** Sealed bytes written to the CDN so far. */
  readonly uploadedBytes: number;
  /** Plaintext bytes that did not have to be sent. */
  readonly dedupedBytes: number;
}

/** What a publish came to. */
export interface PublishResult extends PublishProgress {
  readonly version: number;
  /** False when the bytes equal the latest version. */
  readonly created: boolean;
  /** Plaintext length. */
  readonly bytes: number;
  /** Sealed recipe bytes sent to the Admin API. */
  readonly recipeBytes: number;
}

/** Collaborators of a publish that have a default. */
export interface PublishOptions {
  /** Default: on the calling thread. */
  readonly sealer?: ChunkSealer;
  readonly retry?: RetryPolicy;
}

/** F3: cuts, seals and publishes one resource with bounded memory. Nothing is visible until the commit. Source: docs/formats/sealed-resource.md, "Publish". */
export class PublishResource {
  constructor(
    private readonly api: UploadApi,
    private readonly packs: PackSink,
    private readonly options: PublishOptions = {},
  ) {}

  /**
   * @throws ResourceError; whatever was written is found again by the next attempt. `upload.pack-gone`: packs that were reused have been
   *   collected in the meantime; publish again, and their chunks are sealed anew.
   */
  async run(request: PublishRequest): Promise<PublishResult> {
    const stop = new AbortController();
    const signal = request.signal ? AbortSignal.any([request.signal, stop.signal]) : stop.signal;
    try {
      signal.throwIfAborted();
      const upload = await this.api.open(request.resource);
      try {
        assertUsable(upload);
        return await new Publication(request, upload, this.api, this.packs, this.options, signal).run();
      } catch (error) {
        stop.abort(); // packs still on their way are of no use any more
        if (!(error instanceof ResourceError && error.code === 'api.unreachable')) await this.giveUp(upload.uploadId);
        throw error;
      }
    } finally {
      request.content.destroy();
    }
  }

  /** So that what it pins need not wait until it expires. */
  private async giveUp(uploadId: string): Promise<void> {
    await this.api.abandon(uploadId).catch(() => undefined); // what went wrong before says more
  }
}

interface NamedChunk {
  readonly plaintext: Buffer;
  readonly identity: ChunkIdentity;
  /** Hexadecimal id. */
  readonly id: string;
}

interface Window {
  readonly chunks: readonly NamedChunk[];
  readonly known: ReadonlyMap<string, KnownChunk>;
}

/** One run of {@link PublishResource}. */
class Publication {
  private readonly recipeKey = newRecipeKey();
  private readonly sealer: ChunkSealer;
  private readonly index = new ChunkIndex();
  private readonly table: (PackRef | undefined)[] = [];
  private readonly reusedPacks = new Map<string, number>();
  private readonly writer: PackWriter;
  private readonly held: HeldUpload;
  private readonly recipe: RecipeBuilder;
  private readonly whole = createHash('sha256');
  private readBytes = 0;
  private dedupedBytes = 0;
  private lastHeartbeatMs = performance.now();

  constructor(
    private readonly request: PublishRequest,
    private readonly upload: OpenedUpload,
    api: UploadApi,
    sink: PackSink,
    options: PublishOptions,
    private readonly signal: AbortSignal,
  ) {
    const { uploadId, folderId, resourceId, chunking } = upload;
    this.sealer = options.sealer ?? new InlineChunkSealer();
    const retry = options.retry ?? DEFAULT_RETRY;
    this.held = new HeldUpload(api, uploadId, retry, signal);
    this.writer = new PackWriter(this.held, this.sealer, sink, upload.packTargetBytes, this.table, retry, signal);
    const place = { folderId, resourceId, version: DRAFT_VERSION };
    this.recipe = new RecipeBuilder(place, this.recipeKey, chunking, (kind, index, sealed) =>
      this.held.putSegment(kind, index, sealed),
    );
  }

  async run(): Promise<PublishResult> {
    const windows = this.windows();
    // The next window is read, hashed and asked about while this one is sealed.
    let coming = this.prepare(windows);
    for (;;) {
      const window = await coming;
      if (window === undefined) break;
      coming = this.prepare(windows);
      coming.catch(() => undefined); // reported when it is awaited, or superseded by an earlier failure
      await this.place(window);
      await this.keepAlive();
      this.report();
    }
    await this.writer.finish();
    return this.commit();
  }

  private async commit(): Promise<PublishResult> {
    const { request } = this;
    const packs = this.table.map((pack) => {
      if (pack === undefined) throw new Error('a pack was never written');
      return pack;
    });
    const { recipeBytes, chunkSegments, packSegments } = await this.recipe.finish(packs, this.whole.digest());
    const images = request.images && (await request.images());
    this.signal.throwIfAborted();
    const { version, created } = await this.held.commit({
      recipeKey: this.recipeKey,
      kind: request.kind,
      chunkSegments,
      packSegments,
      ...(images && { images }),
    });
    this.report();
    return { ...this.progress(), version, created, bytes: this.readBytes, recipeBytes };
  }

  private async *windows(): AsyncGenerator<readonly Buffer[], void> {
    const chunker = new Chunker(this.upload.chunking);
    let window: Buffer[] = [];
    let windowBytes = 0;
    for await (const bytes of this.request.content as AsyncIterable<Uint8Array>) {
      this.signal.throwIfAborted();
      this.readBytes += bytes.length;
      if (this.readBytes > this.request.maxBytes) throw tooLarge(this.request.maxBytes);
      this.whole.update(bytes);
      for (const chunk of chunker.push(bytes)) {
        window.push(chunk);
        windowBytes += chunk.length;
        if (windowBytes < WINDOW_BYTES && window.length < MAX_KNOWN_CHUNK_IDS) continue;
        yield window;
        window = [];
        windowBytes = 0;
      }
    }
    const last = chunker.finish();
    if (last) window.push(last);
    if (window.length > 0) yield window;
  }

  private async prepare(windows: AsyncGenerator<readonly Buffer[], void>): Promise<Window | undefined> {
    const { value: plaintexts } = await windows.next();
    if (!plaintexts) return undefined;
    const chunks: NamedChunk[] = [];
    const named = inOrder(plaintexts, this.sealer.parallelism, async (plaintext) => {
      const identity = await this.sealer.identify(plaintext, this.upload.dedupKey);
      return { plaintext, identity, id: toHex(identity.id) };
    });
    for await (const chunk of named) chunks.push(chunk);
    const unknown = new Set(chunks.filter(({ identity }) => !this.index.find(identity.id)).map(({ id }) => id));
    const offered = unknown.size > 0 ? await this.held.knownChunks([...unknown]) : [];
    return { chunks, known: new Map(offered.map((chunk) => [chunk.id, chunk])) };
  }

  private async place({ chunks, known }: Window): Promise<void> {
    const unknown = new Map<string, NamedChunk>();
    for (const chunk of chunks)
      if (!this.index.find(chunk.identity.id) && !known.has(chunk.id) && !unknown.has(chunk.id))
        unknown.set(chunk.id, chunk);
    // In the order in which they are met below.
    const sealing = inOrder(unknown.values(), this.sealer.parallelism, ({ plaintext, identity }) =>
      this.sealer.seal(plaintext, identity),
    );
    for (const { id, identity, plaintext } of chunks) {
      const { h, key, plaintextBytes } = identity;
      let position = this.index.find(identity.id);
      if (position) {
        this.dedupedBytes += plaintextBytes;
      } else {
        position = known.has(id) ? this.reuse(known.get(id) as KnownChunk, plaintextBytes) : undefined;
        position ??= await this.append(identity, (await sealing.next()).value as Buffer);
        this.index.add(identity.id, position);
      }
      releaseBytes(plaintext);
      await this.recipe.add({ h, key, plaintextBytes, domain: this.upload.domain, ...position });
    }
  }

  private async append(identity: ChunkIdentity, sealed: Buffer): Promise<ChunkPosition> {
    const sealedBytes = sealed.length;
    const place = await this.writer.append(identity.id, sealed);
    releaseBytes(sealed);
    return { ...place, sealedBytes };
  }

  private reuse(chunk: KnownChunk, plaintextBytes: number): ChunkPosition {
    const { packId, packSizeBytes, packSha256, offset, sealedBytes } = chunk;
    const plausible =
      PACK_ID_PATTERN.test(packId) &&
      packSha256.length === 32 &&
      packSizeBytes <= MAX_PACK_BYTES &&
      sealedBytes > CHUNK_OVERHEAD_BYTES &&
      sealedBytes <= plaintextBytes + CHUNK_OVERHEAD_BYTES &&
      offset >= 0 &&
      offset + sealedBytes <= packSizeBytes;
    if (!plausible)
      throw new ResourceError('api.unexpected', 'The Admin API offered a chunk that cannot be what it says.');
    let packIndex = this.reusedPacks.get(packId);
    if (packIndex === undefined) {
      packIndex = this.table.push({ packId, sizeBytes: packSizeBytes, sha256: packSha256 }) - 1;
      this.reusedPacks.set(packId, packIndex);
    }
    this.dedupedBytes += plaintextBytes;
    return { packIndex, offset, sealedBytes };
  }

  private async keepAlive(): Promise<void> {
    const nowMs = performance.now();
    if (nowMs - this.lastHeartbeatMs < HEARTBEAT_MS) return;
    this.lastHeartbeatMs = nowMs;
    await this.held.heartbeat();
  }

  private report(): void {
    this.request.onProgress?.(this.progress());
  }

  private progress(): PublishProgress {
    return { readBytes: this.readBytes, uploadedBytes: this.writer.writtenBytes, dedupedBytes: this.dedupedBytes };
  }
}

function assertUsable({ dedupKey, packTargetBytes }: OpenedUpload): void {
  if (dedupKey.length !== 32 || packTargetBytes < 1 || packTargetBytes > MAX_PACK_BYTES - 1024 * 1024)
    throw new ResourceError('api.unexpected', 'The Admin API opened an upload with parameters out of bounds.');
}

function tooLarge(maxBytes: number): ResourceError {
  return new ResourceError('resource.too-large', `The content is longer than the ${maxBytes} bytes that are allowed.`, {
    details: { maxBytes },
  });
}
