import { Readable } from 'node:stream';

import { type Clock, SystemClock } from '@azaion/kernel';

import type { RetryPolicy } from '../backoff.js';
import type { ChunkingParameters } from '../chunker.js';
import { type FetchDependencies, FetchResource } from '../fetch/fetch-resource.js';
import { PackReader } from '../fetch/pack-reader.js';
import { PublishResource, type PublishResult } from '../publish/publish-resource.js';
import type { PackSink } from '../ports/pack-sink.js';
import type { PackSource } from '../ports/pack-source.js';
import type { PackStore } from '../ports/pack-store.js';
import { InMemoryAdminApi, InMemoryGrantApi, InMemoryUploadApi } from './in-memory-admin-api.js';
import { InMemoryObjectStore, InMemoryPackSink, InMemoryPackSource } from './in-memory-object-store.js';
import { InMemoryPackStore } from './in-memory-pack-store.js';
import { InMemorySegmentStore } from './in-memory-segment-store.js';
import { InMemoryStatementTrust } from './in-memory-statement-trust.js';
import { softwareRecipient } from './software-recipient.js';

export const RESOURCE = { folder: 'models', name: 'detector.onnx' };
/** Cuts exactly every 64 bytes, for tests that count chunks. */
export const TINY: ChunkingParameters = {
  algorithm: 'fastcdc-nc2-gear32',
  minBytes: 64,
  averageBytes: 64,
  maxBytes: 64,
};
const AT_ONCE: RetryPolicy = { attempts: 3, baseDelayMs: 1, maxDelayMs: 1 };

/** What a test's fetcher has of its own. */
type FetcherChanges = Partial<FetchDependencies> & {
  readonly store?: PackStore;
  readonly sources?: readonly PackSource[];
  readonly stallMs?: number;
};

/** A publisher, an Admin API, an object store and a device, all in one process. */
export class World {
  readonly segments = new InMemorySegmentStore();
  readonly store = new InMemoryPackStore();
  readonly source: InMemoryPackSource;
  readonly trust: InMemoryStatementTrust;
  readonly grants: InMemoryGrantApi;
  readonly recipient = softwareRecipient();

  private constructor(
    readonly objects: InMemoryObjectStore,
    readonly admin: InMemoryAdminApi,
    private readonly clock: Clock,
  ) {
    this.source = new InMemoryPackSource(objects);
    this.trust = this.newTrust();
    this.grants = new InMemoryGrantApi(admin);
  }

  static async create(
    options: { chunking?: ChunkingParameters; packTargetBytes?: number; clock?: Clock; needsMd5?: boolean } = {},
  ): Promise<World> {
    const clock = options.clock ?? new SystemClock();
    const objects = new InMemoryObjectStore(clock, options.needsMd5);
    return new World(objects, await InMemoryAdminApi.create(objects, options), clock);
  }

  /** A trust that has seen nothing yet. */
  newTrust(): InMemoryStatementTrust {
    return new InMemoryStatementTrust(() => this.admin.statementKeys());
  }

  publish(content: Buffer, sink: PackSink = new InMemoryPackSink(this.objects)): Promise<PublishResult> {
    const publisher = new PublishResource(new InMemoryUploadApi(this.admin), sink, { retry: AT_ONCE });
    return publisher.run({ resource: RESOURCE, kind: 'file', content: streamOf(content), maxBytes: 2 ** 30 });
  }

  fetcher(changed: FetcherChanges = {}): FetchResource {
    const { grants: api, trust, segments, clock } = this;
    const { store = this.store, sources = [this.source], stallMs = 10_000, ...rest } = changed;
    const reader = new PackReader(store, sources, { retry: AT_ONCE, stallMs, hedgeAfterMs: 1000 });
    return new FetchResource({ api, trust, reader, segments, clock, retry: AT_ONCE, ...rest });
  }

  async fetch(changed: FetcherChanges = {}, version?: number): Promise<Buffer> {
    const opened = await this.fetcher(changed).run({ resource: RESOURCE, version, recipient: this.recipient });
    return collect(opened.read());
  }
}

export function streamOf(content: Buffer, pieceBytes = 65_536): Readable {
  const pieces: Buffer[] = [];
  for (let at = 0; at < content.length; at += pieceBytes) pieces.push(content.subarray(at, at + pieceBytes));
  return Readable.from(pieces);
}

export async function collect(parts: AsyncIterable<Buffer>): Promise<Buffer> {
  const all: Buffer[] = [];
  for await (const part of parts) all.push(part);
  return Buffer.concat(all);
}
