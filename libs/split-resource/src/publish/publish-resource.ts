import type { Readable } from 'node:stream';

import {
  CHUNK_OVERHEAD_BYTES,
  type ChunkIdentity,
  DRAFT_VERSION,
  MAX_CHUNK_BYTES,
  newRecipeKey,
  type ResourceKind,
  type StatementImage,
} from '@azaion/crypto';
import { type ByteRange, type ResourceName, toHex } from '@azaion/kernel';

import { DEFAULT_RETRY, type RetryPolicy } from '../backoff.js';
import { type ChunkSealer, InlineChunkSealer, type RunningHash } from '../chunk-work.js';
import { Chunker } from '../chunker.js';
import { ResourceError } from '../errors.js';
import { inOrder } from '../in-order.js';
import { MAX_PACK_BYTES, PACK_ID_PATTERN, type PackRef } from '../pack.js';
import type { PackSink } from '../ports/pack-sink.js';
import { PlaintextSource, StreamPlaintext } from '../ports/plaintext-source.js';
import { type KnownChunk, MAX_KNOWN_CHUNK_IDS, type OpenedUpload, type UploadApi } from '../ports/upload-api.js';
import { RecipeBuilder } from '../recipe/recipe-builder.js';
import { ChunkIndex, type ChunkPosition } from './chunk-index.js';
import { HeldUpload } from './held-upload.js';
import { PackWriter } from './pack-writer.js';
import { type PlaintextWindow, PlaintextWindows } from './plaintext-windows.js';

/** Windows that have been read, hashed and asked about while an earlier one is sealed, beside the one that is being read. */
const WINDOWS_AHEAD = 1;
/** Plaintext that is named or sealed in one go, and then goes on to the end of its chunk: a few milliseconds of work. */
const BATCH_BYTES = 1024 * 1024;
const MAX_CHUNKS_PER_BATCH = 4096;
const SEALED_BATCH_BYTES = BATCH_BYTES + MAX_CHUNK_BYTES + MAX_CHUNKS_PER_BATCH * CHUNK_OVERHEAD_BYTES;
/** Longest time without a heartbeat. Uploads live for hours. */
const HEARTBEAT_MS = 5 * 60_000;

/** What to publish. */
export interface PublishRequest {
  readonly resource: ResourceName;
  readonly kind: ResourceKind;
  /** The plaintext; read once, front to back, and destroyed or closed at the end whatever happens. */
  readonly content: Readable | PlaintextSource;
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
  /** Plaintext bytes that were sealed anew. */
  readonly newBytes: number;
  /** Plaintext bytes that did not have to be sent: they lie in packs of earlier uploads, or stood in this resource before. */
  readonly dedupedBytes: number;
  /** Sealed bytes that have arrived at the CDN: in the end the new ones, compressed where that saves, with 29 bytes more for each chunk. */
  readonly uploadedBytes: number;
}

/** What a publish came to: `newBytes + dedupedBytes` are `bytes`, and `uploadedBytes` the sizes of the packs that were written. */
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
    const content = request.content instanceof PlaintextSource ? request.content : new StreamPlaintext(request.content);
    const stop = new AbortController();
    let publication: Publication | undefined;
    const signal = request.signal ? AbortSignal.any([request.signal, stop.signal]) : stop.signal;
    try {
      signal.throwIfAborted();
      const upload = await this.api.open(request.resource);
      try {
        assertUsable(upload);
        publication = new Publication(request, content, upload, this.api, this.packs, this.options, signal);
        return await publication.run();
      } catch (error) {
        stop.abort(); // packs still on their way are of no use any more
        if (!(error instanceof ResourceError && error.code === 'api.unreachable')) await this.giveUp(upload.uploadId);
        throw error;
      }
    } finally {
      await content.close();
      await publication?.release();
    }
  }

  /** So that what it pins need not wait until it expires. */
  private async giveUp(uploadId: string): Promise<void> {
    await this.api.abandon(uploadId).catch(() => undefined); // what went wrong before says more
  }
}

interface NamedChunk {
  /** Its plaintext in the window. */
  readonly range: ByteRange;
  readonly identity: ChunkIdentity;
  /** Hexadecimal id. */
  readonly id: string;
}

interface PreparedWindow {
  readonly window: PlaintextWindow;
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
  private readonly memories: Uint8Array[] = [];
  private readonly whole: RunningHash;
  private reading: Promise<PlaintextWindow | undefined> = Promise.resolve(undefined);
  private readonly coming: Promise<PreparedWindow | undefined>[] = [];
  private readonly windows: PlaintextWindows;
  /** Where batches are sealed to. */
  private readonly spareTargets: Uint8Array[] = [];
  private newBytes = 0;
  private dedupedBytes = 0;
  private lastHeartbeatMs = performance.now();

  constructor(
    private readonly request: PublishRequest,
    content: PlaintextSource,
    private readonly upload: OpenedUpload,
    api: UploadApi,
    sink: PackSink,
    options: PublishOptions,
    private readonly signal: AbortSignal,
  ) {
    const { uploadId, folderId, resourceId, chunking } = upload;
    this.sealer = options.sealer ?? new InlineChunkSealer();
    this.whole = this.sealer.hashing('sha256', signal);
    const limits = { maxBytes: request.maxBytes, maxChunkBytes: chunking.maxBytes, signal };
    const allocate = (sizeBytes: number): Uint8Array => this.allocate(sizeBytes);
    this.windows = new PlaintextWindows(content, new Chunker(chunking), allocate, limits);
    const retry = options.retry ?? DEFAULT_RETRY;
    this.held = new HeldUpload(api, uploadId, retry, signal);
    this.writer = new PackWriter(this.held, this.sealer, allocate, sink, upload, this.table, retry, signal);
    const place = { folderId, resourceId, version: DRAFT_VERSION };
    this.recipe = new RecipeBuilder(place, this.recipeKey, chunking, (kind, index, sealed) =>
      this.held.putSegment(kind, index, sealed),
    );
  }

  async run(): Promise<PublishResult> {
    const { coming } = this;
    for (;;) {
      while (coming.length <= WINDOWS_AHEAD) {
        this.reading = this.reading.then(() => this.windows.next());
        const prepared = this.prepare(this.reading);
        prepared.catch(() => undefined); // reported when it is awaited, or superseded by an earlier failure
        coming.push(prepared);
      }
      const prepared = await coming.shift();
      if (prepared === undefined) break;
      await this.place(prepared);
      this.windows.release(prepared.window);
      await this.keepAlive();
      this.report();
    }
    await this.writer.finish();
    return this.commit();
  }

  /** Gives all memory back, after the content was closed and, unless it succeeded, the signal aborted: nobody waits for long then. */
  async release(): Promise<void> {
    await Promise.allSettled([this.reading, ...this.coming, this.writer.settled()]);
    for (const memory of this.memories.splice(0)) this.sealer.release(memory);
  }

  private allocate(sizeBytes: number): Uint8Array {
    const memory = this.sealer.allocate(sizeBytes);
    this.memories.push(memory);
    return memory;
  }

  private async commit(): Promise<PublishResult> {
    const { request } = this;
    const packs = this.table.map((pack) => {
      if (pack === undefined) throw new Error('a pack was never written');
      return pack;
    });
    const { recipeBytes, chunkSegments, packSegments } = await this.recipe.finish(packs, await this.whole.digest());
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
    return { ...this.progress(), version, created, bytes: this.windows.readBytes, recipeBytes };
  }

  private async prepare(reading: Promise<PlaintextWindow | undefined>): Promise<PreparedWindow | undefined> {
    const window = await reading;
    if (window === undefined) return undefined;
    const { memory, fresh } = window;
    const hashed = this.whole.update(memory.subarray(fresh.start, fresh.end));
    hashed.catch(() => undefined); // reported below, or superseded by an earlier failure
    const chunks = await this.named(window);
    const unknown = new Set(chunks.filter(({ identity }) => !this.index.find(identity.id)).map(({ id }) => id));
    const known = await this.known([...unknown]);
    await hashed;
    return { window, chunks, known };
  }

  private async named({ memory, chunks }: PlaintextWindow): Promise<readonly NamedChunk[]> {
    const { sealer, upload } = this;
    const named: NamedChunk[] = [];
    const batches = inBatches(chunks, (range) => range);
    const identified = inOrder(batches, sealer.parallelism, (batch) => sealer.identify(memory, batch, upload.dedupKey));
    for await (const identities of identified)
      for (const identity of identities)
        named.push({ range: chunks[named.length] as ByteRange, identity, id: toHex(identity.id) });
    return named;
  }

  private async known(ids: readonly string[]): Promise<ReadonlyMap<string, KnownChunk>> {
    const known = new Map<string, KnownChunk>();
    for (let at = 0; at < ids.length; at += MAX_KNOWN_CHUNK_IDS)
      for (const chunk of await this.held.knownChunks(ids.slice(at, at + MAX_KNOWN_CHUNK_IDS)))
        known.set(chunk.id, chunk);
    return known;
  }

  private async place({ window, chunks, known }: PreparedWindow): Promise<void> {
    const unknown = new Map<string, NamedChunk>();
    for (const chunk of chunks)
      if (!this.index.find(chunk.identity.id) && !known.has(chunk.id) && !unknown.has(chunk.id))
        unknown.set(chunk.id, chunk);
    const sealing = this.sealed(window, [...unknown.values()]); // in the order in which they are met below
    for (const { id, identity } of chunks) {
      const { h, key, plaintextBytes } = identity;
      let position = this.index.find(identity.id);
      if (position) {
        this.dedupedBytes += plaintextBytes;
      } else {
        position = known.has(id) ? this.reuse(known.get(id) as KnownChunk, plaintextBytes) : undefined;
        position ??= await this.append(identity, (await sealing.next()).value as Uint8Array);
        this.index.add(identity.id, position);
      }
      await this.recipe.add({ h, key, plaintextBytes, domain: this.upload.domain, ...position });
    }
    await sealing.next(); // ends it: its last memory is given back
  }

  /** @returns Sealed chunks in order, each to be used before the next is asked for. */
  private async *sealed(window: PlaintextWindow, chunks: readonly NamedChunk[]): AsyncGenerator<Uint8Array, void> {
    const { sealer } = this;
    const batches = inBatches(chunks, ({ range }) => range);
    const sealing = inOrder(batches, sealer.parallelism, async (batch) => {
      const target = this.spareTargets.pop() ?? this.allocate(SEALED_BATCH_BYTES);
      const toSeal = batch.map(({ range, identity }) => ({ range, secrets: identity }));
      return { target, lengths: await sealer.seal(window.memory, toSeal, target) };
    });
    for await (const { target, lengths } of sealing) {
      let at = 0;
      for (const length of lengths) yield target.subarray(at, (at += length));
      this.spareTargets.push(target);
    }
  }

  private async append(identity: ChunkIdentity, sealed: Uint8Array): Promise<ChunkPosition> {
    const place = await this.writer.append(identity.id, sealed);
    this.newBytes += identity.plaintextBytes;
    return { ...place, sealedBytes: sealed.length };
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
    return {
      readBytes: this.windows.readBytes,
      newBytes: this.newBytes,
      dedupedBytes: this.dedupedBytes,
      uploadedBytes: this.writer.writtenBytes,
    };
  }
}

function assertUsable({ dedupKey, packTargetBytes, chunking }: OpenedUpload): void {
  const usable =
    dedupKey.length === 32 &&
    packTargetBytes >= 1 &&
    packTargetBytes <= MAX_PACK_BYTES - 1024 * 1024 &&
    chunking.maxBytes <= MAX_CHUNK_BYTES;
  if (!usable)
    throw new ResourceError('api.unexpected', 'The Admin API opened an upload with parameters out of bounds.');
}

/** Consecutive items of about {@link BATCH_BYTES} together. */
function inBatches<Item>(items: readonly Item[], rangeOf: (item: Item) => ByteRange): readonly (readonly Item[])[] {
  const batches: Item[][] = [];
  let batch: Item[] = [];
  let batchBytes = 0;
  for (const item of items) {
    const { start, end } = rangeOf(item);
    if (batch.length === 0) batches.push(batch);
    batch.push(item);
    batchBytes += end - start;
    if (batchBytes < BATCH_BYTES && batch.length < MAX_CHUNKS_PER_BATCH) continue;
    batch = [];
    batchBytes = 0;
  }
  return batches;
}
