import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';

import { identifyChunk, sealChunk } from '@azaion/crypto';
import { pseudoRandomBytes } from '@azaion/testing';

import { repeatWhileUnreachable } from '../backoff.js';
import { Chunker, CHUNKING } from '../chunker.js';
import { ResourceError } from '../errors.js';
import { InlineChunkSealer } from '../chunk-work.js';
import { PackSink } from '../ports/pack-sink.js';
import { PlaintextSource, StreamPlaintext } from '../ports/plaintext-source.js';
import type { KnownChunk, OpenedUpload } from '../ports/upload-api.js';
import { InMemoryPackSink, InMemoryUploadApi } from '../testing/index.js';
import { RESOURCE, streamOf, TINY, World } from '../testing/world.js';
import { MAX_CHUNKS_PER_PACK, MAX_PACK_BYTES, type PackRef } from '../pack.js';
import { ChunkIndex } from './chunk-index.js';
import { HeldUpload } from './held-upload.js';
import { PackWriter } from './pack-writer.js';
import { PlaintextWindows, WINDOW_BYTES } from './plaintext-windows.js';
import { PublishResource } from './publish-resource.js';
import { refusal } from '../testing/refusal.js';

const RETRY = { attempts: 3, baseDelayMs: 1, maxDelayMs: 1 };

/** Fails before or after the write behind it, as often as it is told to. */
class FailingSink extends PackSink {
  puts = 0;

  constructor(
    private readonly behind: PackSink,
    private readonly fail: (put: number) => { before?: ResourceError; after?: ResourceError },
  ) {
    super();
  }

  override async put(...[target, parts, deadlineMs]: Parameters<PackSink['put']>): Promise<void> {
    const { before, after } = this.fail(++this.puts);
    if (before) throw before;
    await this.behind.put(target, parts, deadlineMs);
    if (after) throw after;
  }
}

/** A chunk of zeros, sealed. */
function compressedBytes(sizeBytes: number): number {
  const plaintext = Buffer.alloc(sizeBytes);
  return sealChunk(plaintext, identifyChunk(plaintext, Buffer.alloc(32))).length;
}

const unavailable = new ResourceError('pack.unavailable', 'Try again later.');
const forbidden = new ResourceError('pack.forbidden', 'The URL has expired.');

describe('PublishResource', () => {
  it('repeats failed writes, asks for a new URL when one is refused, and takes a lost answer for a success', async () => {
    const world = await World.create({ chunking: TINY, packTargetBytes: 500 });
    const content = randomBytes(2000);
    const sink = new FailingSink(new InMemoryPackSink(world.objects), (put) => {
      if (put === 1) return { before: unavailable };
      if (put === 2) return { before: forbidden };
      return put === 3 ? { after: unavailable } : {};
    });
    await expect(world.publish(content, sink)).resolves.toMatchObject({ version: 1 });
    expect((await world.fetch()).equals(content)).toBe(true);
  });

  it('gives up on a store that stays away, and the next attempt sends only the rest', async () => {
    const world = await World.create({ chunking: TINY, packTargetBytes: 500 });
    const content = pseudoRandomBytes('the rest', 20_000);
    let allowed = 5;
    const dying = new FailingSink(new InMemoryPackSink(world.objects), () =>
      allowed-- > 0 ? {} : { before: unavailable },
    );
    await expect(world.publish(content, dying)).rejects.toMatchObject(refusal('pack.unavailable'));
    expect(world.admin.latestVersion(RESOURCE)).toBe(0);
    const written = world.objects.keys().length;
    expect(written).toBe(5);
    // Packs of six chunks of 64 bytes, each with 29 bytes more.
    expect(await world.publish(content)).toMatchObject({
      dedupedBytes: 5 * 6 * 64,
      newBytes: 20_000 - 5 * 6 * 64,
      uploadedBytes: 20_000 - 5 * 6 * 64 + 29 * (Math.ceil(20_000 / 64) - 5 * 6),
    });
    expect((await world.fetch()).equals(content)).toBe(true);
  });

  it('counts what is new, what is not, and what was sent, to the byte', async () => {
    const world = await World.create({ chunking: TINY, packTargetBytes: 500 });
    const [one, two, three] = ['one', 'two', 'three'].map((seed) => pseudoRandomBytes(seed, 64)) as [
      Buffer,
      Buffer,
      Buffer,
    ];
    const short = pseudoRandomBytes('short', 10);
    const figures = async (...parts: Buffer[]) => {
      const { version, created, bytes, newBytes, dedupedBytes, uploadedBytes } = await world.publish(
        Buffer.concat(parts),
      );
      return { version, created, bytes, newBytes, dedupedBytes, uploadedBytes };
    };
    const of = (version: number, bytes: number, newBytes: number, uploadedBytes: number, created = true) => {
      return { version, created, bytes, newBytes, dedupedBytes: bytes - newBytes, uploadedBytes };
    };
    expect(await figures(one, one, two, one)).toEqual(of(1, 256, 128, 2 * 93));
    expect(await figures(one, one, two, one)).toEqual(of(1, 256, 0, 0, false));
    expect(await figures(two, three, three, short)).toEqual(of(2, 202, 74, 93 + 39));
    expect(await figures()).toEqual(of(3, 0, 0, 0));
    expect(await figures(Buffer.alloc(64))).toEqual(of(4, 64, 64, compressedBytes(64)));
  });

  it.each([
    ['succeeded', 100_000],
    ['failed', 50_000],
  ])('gives every piece of memory back when it has %s, and uses none of it from then on', async (_, maxBytes) => {
    const world = await World.create({ packTargetBytes: 20_000 });
    const [allocated, released] = [new Set<Uint8Array>(), new Set<Uint8Array>()];
    class CountingSealer extends InlineChunkSealer {
      override allocate(sizeBytes: number): Uint8Array {
        const memory = super.allocate(sizeBytes);
        allocated.add(memory);
        return memory;
      }
      override release(memory: Uint8Array): void {
        released.add(memory);
        super.release(memory);
      }
    }
    const publisher = new PublishResource(new InMemoryUploadApi(world.admin), new InMemoryPackSink(world.objects), {
      sealer: new CountingSealer(),
    });
    await publisher
      .run({ resource: RESOURCE, kind: 'file', content: streamOf(pseudoRandomBytes('memory', 100_000)), maxBytes })
      .catch(() => undefined);
    expect(allocated.size).toBeGreaterThan(0);
    expect(released).toEqual(allocated);
  });

  it('waits with that for whatever still reads the memory: names of chunks, and packs on their way', async () => {
    const world = await World.create({ packTargetBytes: 20_000 });
    const released: Uint8Array[] = [];
    const releasedWhenRead: number[] = [];
    let closed: () => void = () => undefined;
    const afterClose = new Promise<void>((resolve) => (closed = resolve));
    const readLater = async (): Promise<void> => {
      await afterClose;
      releasedWhenRead.push(released.length);
    };
    class LateSealer extends InlineChunkSealer {
      private first: Uint8Array | undefined;
      override release(memory: Uint8Array): void {
        released.push(memory);
        super.release(memory);
      }
      override async identify(...[window, ...rest]: Parameters<InlineChunkSealer['identify']>) {
        this.first ??= window;
        if (window !== this.first) await readLater();
        return super.identify(window, ...rest);
      }
    }
    class LateSink extends PackSink {
      private puts = 0;
      override async put(): Promise<void> {
        if (++this.puts > 1) throw new ResourceError('api.unexpected', 'The store does not take it.');
        await readLater();
      }
    }
    class Content extends PlaintextSource {
      private readonly bytes = pseudoRandomBytes('still read', WINDOW_BYTES + 100_000);
      private at = 0;
      override read(target: Uint8Array): Promise<number> {
        const piece = this.bytes.subarray(this.at, this.at + target.length);
        target.set(piece);
        this.at += piece.length;
        return Promise.resolve(piece.length);
      }
      override close(): Promise<void> {
        setImmediate(closed); // after everything that follows without waiting for anybody
        return Promise.resolve();
      }
    }
    const publisher = new PublishResource(new InMemoryUploadApi(world.admin), new LateSink(), {
      sealer: new LateSealer(),
    });
    await expect(
      publisher.run({ resource: RESOURCE, kind: 'file', content: new Content(), maxBytes: 1e9 }),
    ).rejects.toMatchObject(refusal('api.unexpected'));
    expect(releasedWhenRead).toEqual([0, 0]);
    expect(released.length).toBeGreaterThan(0);
  });

  it('asks for a new URL once: one that is refused as well has not expired', async () => {
    const world = await World.create({ chunking: TINY });
    let announced = 0;
    class CountingApi extends InMemoryUploadApi {
      override addPack(...args: Parameters<InMemoryUploadApi['addPack']>): ReturnType<InMemoryUploadApi['addPack']> {
        announced++;
        return super.addPack(...args);
      }
    }
    const sink = new FailingSink(new InMemoryPackSink(world.objects), () => ({ before: forbidden }));
    const publisher = new PublishResource(new CountingApi(world.admin), sink, { retry: { ...RETRY, attempts: 5 } });
    await expect(
      publisher.run({ resource: RESOURCE, kind: 'file', content: streamOf(randomBytes(100)), maxBytes: 1e6 }),
    ).rejects.toMatchObject(refusal('pack.forbidden'));
    expect({ announced, puts: sink.puts }).toEqual({ announced: 2, puts: 2 });
  });

  it.each([
    [true, ['md5', 'sha256']],
    [false, ['sha256']],
  ])('hashes packs with MD5 where the object store needs it and not elsewhere: %s', async (needsMd5, expected) => {
    const world = await World.create({ chunking: TINY, packTargetBytes: 500, needsMd5 });
    const algorithms = new Set<string>();
    class ListeningSealer extends InlineChunkSealer {
      override hashing(...args: Parameters<InlineChunkSealer['hashing']>): ReturnType<InlineChunkSealer['hashing']> {
        algorithms.add(args[0]);
        return super.hashing(...args);
      }
    }
    const content = randomBytes(2000);
    const publisher = new PublishResource(new InMemoryUploadApi(world.admin), new InMemoryPackSink(world.objects), {
      sealer: new ListeningSealer(),
    });
    await publisher.run({ resource: RESOURCE, kind: 'file', content: streamOf(content), maxBytes: 1e6 });
    expect([...algorithms].sort()).toEqual(expected);
    expect((await world.fetch()).equals(content)).toBe(true);
  });

  it('makes no call any more once it has been told to stop', async () => {
    const stop = new AbortController();
    stop.abort(new Error('enough'));
    let calls = 0;
    const call = (): Promise<number> => Promise.resolve(++calls);
    await expect(repeatWhileUnreachable(call, RETRY, stop.signal)).rejects.toThrow('enough');
    expect(calls).toBe(0);
  });

  it('gives the upload up when it fails for good, so that nothing waits for it', async () => {
    const world = await World.create({ chunking: TINY });
    let uploadId = '';
    class RecordingApi extends InMemoryUploadApi {
      override async open(...args: Parameters<InMemoryUploadApi['open']>): Promise<OpenedUpload> {
        const opened = await super.open(...args);
        uploadId = opened.uploadId;
        return opened;
      }
    }
    const sink = new FailingSink(new InMemoryPackSink(world.objects), () => ({ before: unavailable }));
    const publisher = new PublishResource(new RecordingApi(world.admin), sink, { retry: RETRY });
    await expect(
      publisher.run({ resource: RESOURCE, kind: 'file', content: streamOf(randomBytes(100)), maxBytes: 1e6 }),
    ).rejects.toMatchObject(refusal('pack.unavailable'));
    await expect(world.admin.knownChunks(uploadId, ['00'])).rejects.toThrow('There is no such upload.');
  });

  it.each(['knownChunks', 'addPack', 'putChunkTable', 'putSegment', 'commit'] as const)(
    'repeats %s when the connection to the Admin API breaks, and gives up after a while',
    async (method) => {
      const world = await World.create({ chunking: TINY, packTargetBytes: 500 });
      const content = randomBytes(2000);
      const api = new InMemoryUploadApi(world.admin);
      const works = api[method].bind(api) as (...args: unknown[]) => Promise<never>;
      let failures = 2;
      Object.assign(api, {
        [method]: (...args: unknown[]) =>
          failures-- > 0
            ? Promise.reject(new ResourceError('api.unreachable', 'The connection broke.'))
            : works(...args),
      });
      const publisher = new PublishResource(api, new InMemoryPackSink(world.objects), { retry: RETRY });
      const request = { resource: RESOURCE, kind: 'file', maxBytes: 1e6 } as const;
      expect(await publisher.run({ ...request, content: streamOf(content) })).toMatchObject({ version: 1 });
      expect((await world.fetch()).equals(content)).toBe(true);
      failures = Infinity;
      await expect(publisher.run({ ...request, content: streamOf(randomBytes(2000)) })).rejects.toMatchObject(
        refusal('api.unreachable'),
      );
    },
  );

  it('says upload.pack-gone when reused packs were collected, and succeeds when it is repeated', async () => {
    const world = await World.create({ chunking: TINY });
    const content = randomBytes(2000);
    await world.publish(content);
    const packId = world.objects.keys()[0]!.slice(-32);
    class CollectingApi extends InMemoryUploadApi {
      override async commit(
        ...args: Parameters<InMemoryUploadApi['commit']>
      ): Promise<{ version: number; created: boolean }> {
        await world.admin.collect(packId);
        return super.commit(...args);
      }
    }
    const changed = Buffer.concat([content, randomBytes(100)]);
    const publisher = new PublishResource(new CollectingApi(world.admin), new InMemoryPackSink(world.objects));
    await expect(
      publisher.run({ resource: RESOURCE, kind: 'file', content: streamOf(changed), maxBytes: 1e6 }),
    ).rejects.toMatchObject({ code: 'upload.pack-gone', details: { packIds: [packId] } });
    expect(await world.publish(changed)).toMatchObject({ version: 2 });
    expect((await world.fetch()).equals(changed)).toBe(true);
  });

  it('refuses content longer than allowed, and ends the stream', async () => {
    const world = await World.create();
    const publisher = new PublishResource(new InMemoryUploadApi(world.admin), new InMemoryPackSink(world.objects));
    const content = streamOf(randomBytes(1_000_000));
    await expect(publisher.run({ resource: RESOURCE, kind: 'file', content, maxBytes: 999_999 })).rejects.toMatchObject(
      {
        code: 'resource.too-large',
      },
    );
    expect(content.destroyed).toBe(true);
    expect(world.admin.latestVersion(RESOURCE)).toBe(0);
  });

  it('passes on the failure of the stream it reads', async () => {
    const world = await World.create();
    const publisher = new PublishResource(new InMemoryUploadApi(world.admin), new InMemoryPackSink(world.objects));
    const content = Readable.from(
      (function* () {
        yield randomBytes(10);
        throw new Error('the disk failed');
      })(),
    );
    await expect(publisher.run({ resource: RESOURCE, kind: 'file', content, maxBytes: 1e6 })).rejects.toThrow(
      'the disk failed',
    );
  });

  it('stops when it is told to, before and in the middle', async () => {
    const world = await World.create({ chunking: TINY, packTargetBytes: 500 });
    const stop = new AbortController();
    const sink = new FailingSink(new InMemoryPackSink(world.objects), (put) => {
      if (put === 2) stop.abort(new Error('enough'));
      return {};
    });
    const publisher = new PublishResource(new InMemoryUploadApi(world.admin), sink, { retry: RETRY });
    const request = { resource: RESOURCE, kind: 'file', maxBytes: 1e6, signal: stop.signal } as const;
    for (let attempt = 0; attempt < 2; attempt++)
      await expect(publisher.run({ ...request, content: streamOf(randomBytes(20_000)) })).rejects.toThrow('enough');
    expect(world.admin.latestVersion(RESOURCE)).toBe(0);
  });

  it('hands on the images of an archive once all of it was read', async () => {
    const world = await World.create();
    const content = streamOf(randomBytes(100_000));
    const images = [{ reference: 'a:1', configDigest: `sha256:${'ab'.repeat(32)}`, manifestDigest: null }];
    const publisher = new PublishResource(new InMemoryUploadApi(world.admin), new InMemoryPackSink(world.objects));
    const readBytes: number[] = [];
    await publisher.run({
      resource: RESOURCE,
      kind: 'images',
      content,
      maxBytes: 1e6,
      images: () => {
        expect(content.readableEnded).toBe(true);
        return Promise.resolve(images);
      },
      onProgress: (progress) => readBytes.push(progress.readBytes),
    });
    expect(readBytes.at(-1)).toBe(100_000);
    const opened = await world.fetcher().run({ resource: RESOURCE, recipient: world.recipient });
    expect(opened.statement.images).toEqual(images);
  });

  it.each<[string, Partial<OpenedUpload>]>([
    ['a key of another length', { dedupKey: new Uint8Array(31) }],
    ['packs of nothing', { packTargetBytes: 0 }],
    ['packs that may not be as long', { packTargetBytes: MAX_PACK_BYTES - 1024 * 1024 + 1 }],
    ['chunks that may not be as long', { chunking: { ...CHUNKING, maxBytes: CHUNKING.maxBytes + 1 } }],
  ])('publishes nothing into an upload with %s, and gives it up', async (_, lie) => {
    const world = await World.create();
    const given: string[] = [];
    class LyingApi extends InMemoryUploadApi {
      override async open(...args: Parameters<InMemoryUploadApi['open']>): Promise<OpenedUpload> {
        return { ...(await super.open(...args)), ...lie };
      }
      override abandon(uploadId: string): Promise<void> {
        given.push(uploadId);
        return super.abandon(uploadId);
      }
    }
    const publisher = new PublishResource(new LyingApi(world.admin), new InMemoryPackSink(world.objects));
    await expect(
      publisher.run({ resource: RESOURCE, kind: 'file', content: streamOf(randomBytes(64)), maxBytes: 1e6 }),
    ).rejects.toMatchObject(refusal('api.unexpected'));
    expect(given).toHaveLength(1);
    expect(world.objects.keys()).toEqual([]);
  });

  it('refuses chunks that the Admin API offers but cannot be', async () => {
    const world = await World.create({ chunking: TINY });
    await world.publish(randomBytes(64));
    const lies: Partial<KnownChunk>[] = [
      { sealedBytes: 29 },
      { sealedBytes: 94 },
      { offset: -1 },
      { offset: 1 },
      { packId: '../x' },
      { packSizeBytes: 1e9 },
      { packSha256: new Uint8Array(3) },
    ];
    for (const lie of lies) {
      class LyingApi extends InMemoryUploadApi {
        override knownChunks(_: string, ids: readonly string[]): Promise<readonly KnownChunk[]> {
          const truth = {
            packId: 'ab'.repeat(16),
            packSizeBytes: 93,
            packSha256: new Uint8Array(32),
            offset: 0,
            sealedBytes: 93,
          };
          return Promise.resolve(ids.map((id) => ({ id, ...truth, ...lie })));
        }
      }
      const publisher = new PublishResource(new LyingApi(world.admin), new InMemoryPackSink(world.objects));
      await expect(
        publisher.run({ resource: RESOURCE, kind: 'file', content: streamOf(randomBytes(64)), maxBytes: 1e6 }),
      ).rejects.toMatchObject(refusal('api.unexpected'));
    }
  });
});

describe('PlaintextWindows', () => {
  it('takes one window of memory to find that there is nothing, however often it is asked', async () => {
    let allocated = 0;
    const windows = new PlaintextWindows(
      new StreamPlaintext(Readable.from([])),
      new Chunker(TINY),
      (sizeBytes) => {
        allocated++;
        return new Uint8Array(sizeBytes);
      },
      { maxBytes: 1, maxChunkBytes: TINY.maxBytes, signal: new AbortController().signal },
    );
    for (let call = 0; call < 3; call++) expect(await windows.next()).toBeUndefined();
    expect(allocated).toBe(1);
  });
});

describe('PackWriter', () => {
  it('closes a pack when its chunk table is full, however few bytes that are', async () => {
    const world = await World.create({ needsMd5: false });
    const api = new InMemoryUploadApi(world.admin);
    const { uploadId } = await api.open(RESOURCE);
    const { signal } = new AbortController();
    const upload = new HeldUpload(api, uploadId, RETRY, signal);
    const table: (PackRef | undefined)[] = [];
    const writer = new PackWriter(
      upload,
      new InlineChunkSealer(),
      (sizeBytes) => new Uint8Array(sizeBytes),
      new InMemoryPackSink(world.objects),
      { packTargetBytes: 2 ** 25, packMd5: false },
      table,
      RETRY,
      signal,
    );
    for (let index = 0; index < MAX_CHUNKS_PER_PACK; index++)
      expect((await writer.append(randomBytes(16), Buffer.of(1))).packIndex).toBe(0);
    expect(await writer.append(randomBytes(16), Buffer.of(1))).toEqual({ packIndex: 1, offset: 0 });
    await writer.finish();
    expect(table.map((pack) => pack?.sizeBytes)).toEqual([MAX_CHUNKS_PER_PACK, 1]);
  });
});

describe('ChunkIndex', () => {
  it('finds what was added, and only that, however many there are', () => {
    const index = new ChunkIndex();
    const ids = Array.from({ length: 5000 }, () => randomBytes(16));
    ids.forEach((id, at) => index.add(id, { packIndex: at % 7, offset: at, sealedBytes: at + 30 }));
    ids.forEach((id, at) => expect(index.find(id)).toEqual({ packIndex: at % 7, offset: at, sealedBytes: at + 30 }));
    const close = Buffer.from(ids[0]!);
    close[15] = close[15]! ^ 1;
    expect(index.find(close)).toBeUndefined();
    expect(index.find(randomBytes(16))).toBeUndefined();
  });
});
