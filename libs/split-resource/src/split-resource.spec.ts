import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';

import { SystemClock } from '@azaion/kernel';

import { CHUNKING, type ChunkingParameters } from './chunker.js';
import { FetchResource } from './fetch/fetch-resource.js';
import { PublishResource, type PublishResult } from './publish/publish-resource.js';
import {
  InMemoryAdminApi,
  InMemoryGrantApi,
  InMemoryObjectStore,
  InMemoryPackSink,
  InMemoryPackSource,
  InMemoryPackStore,
  InMemorySegmentStore,
  InMemoryStatementTrust,
  InMemoryUploadApi,
  softwareRecipient,
} from './testing/index.js';

const RESOURCE = { folder: 'models', name: 'detector.onnx' };
const { minBytes, averageBytes, maxBytes } = CHUNKING;

async function world(options: { chunking?: ChunkingParameters; packTargetBytes?: number } = {}) {
  const objects = new InMemoryObjectStore();
  const admin = await InMemoryAdminApi.create(objects, options);
  const source = new InMemoryPackSource(objects);
  const store = new InMemoryPackStore();
  const segments = new InMemorySegmentStore();
  const trust = new InMemoryStatementTrust(() => admin.statementKeys());
  const publisher = new PublishResource(new InMemoryUploadApi(admin), new InMemoryPackSink(objects));
  const fetcher = new FetchResource({
    api: new InMemoryGrantApi(admin),
    trust,
    sources: [source],
    store,
    segments,
    clock: new SystemClock(),
  });
  const publish = (content: Buffer): Promise<PublishResult> =>
    publisher.run({ resource: RESOURCE, kind: 'file', content: streamOf(content), maxBytes: 2 ** 30 });
  const fetch = async (version?: number): Promise<Buffer> => {
    const opened = await fetcher.run({ resource: RESOURCE, version, recipient: softwareRecipient() });
    return collect(opened.read());
  };
  return { objects, admin, source, store, segments, trust, fetcher, publish, fetch };
}

function streamOf(content: Buffer, pieceBytes = 65_536): Readable {
  const pieces: Buffer[] = [];
  for (let at = 0; at < content.length; at += pieceBytes) pieces.push(content.subarray(at, at + pieceBytes));
  return Readable.from(pieces);
}

async function collect(parts: AsyncIterable<Buffer>): Promise<Buffer> {
  const all: Buffer[] = [];
  for await (const part of parts) all.push(part);
  return Buffer.concat(all);
}

describe('a resource that was published and fetched', () => {
  it.each([0, 1, minBytes - 1, minBytes, minBytes + 1, averageBytes, maxBytes - 1, maxBytes, maxBytes + 1, 5_000_000])(
    'has the same %i bytes',
    async (sizeBytes) => {
      const { publish, fetch } = await world();
      const content = randomBytes(sizeBytes);
      const result = await publish(content);
      expect(result).toMatchObject({ version: 1, created: true, bytes: sizeBytes });
      expect((await fetch()).equals(content)).toBe(true);
    },
  );
});
