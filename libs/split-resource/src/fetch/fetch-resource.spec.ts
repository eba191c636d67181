import { randomBytes } from 'node:crypto';
import { PassThrough, Readable } from 'node:stream';

import { CHUNK_OVERHEAD_BYTES } from '@azaion/crypto';
import { ManualClock, releaseBytes } from '@azaion/kernel';

import { ChunkOpener, CHUNKS_AHEAD, InlineChunkOpener, type OpenedChunks, type SealedRun } from '../chunk-work.js';
import { ResourceError } from '../errors.js';
import { MAX_PACK_BYTES, packObjectKey } from '../pack.js';
import type { GrantAnswer, GrantApi, GrantRequest } from '../ports/grant-api.js';
import { PackSource } from '../ports/pack-source.js';
import { InMemoryPackStore, InMemorySegmentStore, softwareRecipient } from '../testing/index.js';
import type { FetchProgress } from './open-range.js';
import { PackReader } from './pack-reader.js';
import { collect, RESOURCE, TINY, World } from '../testing/world.js';
import { InMemoryGrantApi } from '../testing/in-memory-admin-api.js';
import { refusal } from '../testing/refusal.js';

const SEALED_TINY_BYTES = 64 + 29;

/** Changes what an API answers. */
class MeddlingApi extends InMemoryGrantApi {
  constructor(
    world: World,
    private readonly meddle: {
      grant?: (answer: GrantAnswer) => GrantAnswer;
      ask?: (request: GrantRequest) => GrantRequest;
      segment?: (sealed: Uint8Array, part: string) => Promise<Uint8Array> | Uint8Array;
    },
  ) {
    super(world.admin);
  }

  override async grant(request: GrantRequest): Promise<GrantAnswer> {
    const answer = await super.grant(this.meddle.ask?.(request) ?? request);
    return this.meddle.grant?.(answer) ?? answer;
  }

  override async segment(...[grantId, kind, index, maxBytes]: Parameters<GrantApi['segment']>): Promise<Uint8Array> {
    const sealed = await super.segment(grantId, kind, index, maxBytes);
    return (await this.meddle.segment?.(sealed, `${kind}/${index}`)) ?? sealed;
  }
}

/** Fails in a given way a given number of times, then passes on. */
class FailingSource extends PackSource {
  opens = 0;

  constructor(
    private readonly behind: PackSource,
    private readonly fail: (open: number) => Promise<Readable> | undefined,
  ) {
    super();
  }

  override async open(...[location, range, deadlineMs]: Parameters<PackSource['open']>): Promise<Readable> {
    return (await this.fail(++this.opens)) ?? this.behind.open(location, range, deadlineMs);
  }
}

/** Takes the memory of what it opens away, as an opener on another thread does. */
class TakingOpener extends ChunkOpener {
  private readonly inner = new InlineChunkOpener();

  override open(run: SealedRun): AsyncGenerator<OpenedChunks, void> {
    const taken = this.inner.open({ ...run, bytes: Buffer.from(run.bytes) });
    if (run.movable) releaseBytes(run.bytes);
    return taken;
  }
}

/** Opens what it is asked for, and notes when it is first asked for something of a run. */
class NotingOpener extends ChunkOpener {
  readonly begun: { readonly chunks: number; readonly handedOutBefore: number }[] = [];
  private readonly inner = new InlineChunkOpener();

  constructor(private readonly handedOut: () => number) {
    super();
  }

  override async *open(run: SealedRun): AsyncGenerator<OpenedChunks, void> {
    this.begun.push({ chunks: run.chunks.length, handedOutBefore: this.handedOut() });
    yield* this.inner.open(run);
  }
}

async function publishedWorld(chunks = 100): Promise<{ world: World; content: Buffer; key: string }> {
  const world = await World.create({ chunking: TINY });
  const content = randomBytes(64 * chunks);
  await world.publish(content);
  return { world, content, key: world.objects.keys()[0]! };
}

async function severalPacks(): Promise<{ world: World; content: Buffer }> {
  const world = await World.create({ chunking: TINY, packTargetBytes: 500 });
  const content = randomBytes(64 * 50);
  await world.publish(content);
  return { world, content };
}

/** In chunks of real sizes: several ranges, few seals. */
async function largeWorld(): Promise<{ world: World; content: Buffer }> {
  const world = await World.create();
  const content = randomBytes(6_000_000);
  await world.publish(content);
  return { world, content };
}

async function readUntilFailure(parts: AsyncIterable<Buffer>): Promise<{ bytes: Buffer; error: unknown }> {
  const all: Buffer[] = [];
  try {
    for await (const part of parts) all.push(part);
  } catch (error) {
    return { bytes: Buffer.concat(all), error };
  }
  return { bytes: Buffer.concat(all), error: undefined };
}

function flipped(bytes: Uint8Array, bit: number): Uint8Array {
  const changed = new Uint8Array(bytes);
  changed[bit >> 3] = changed[bit >> 3]! ^ (1 << (bit & 7));
  return changed;
}

describe('FetchResource with changed packs', () => {
  it('yields everything before a changed chunk, nothing of it, and says resource.integrity', async () => {
    const { world, content, key } = await publishedWorld();
    world.objects.tamper(key, (bytes) => flipped(bytes, (50 * SEALED_TINY_BYTES + 40) * 8));
    const opened = await world.fetcher().run({ resource: RESOURCE, recipient: world.recipient });
    const { bytes, error } = await readUntilFailure(opened.read());
    expect(error).toMatchObject(refusal('resource.integrity'));
    expect(error).toMatchObject({ details: { packId: key.slice(-32), offset: 50 * SEALED_TINY_BYTES } });
    expect(bytes.equals(content.subarray(0, 50 * 64))).toBe(true);
  });

  it('gives back what it held for reading ahead, however the read ends', async () => {
    const { world, content, key } = await publishedWorld();
    const readAheadBytes = 20_000;
    const newReader = (): PackReader =>
      new PackReader(new InMemoryPackStore(), [world.source], {
        retry: { attempts: 1, baseDelayMs: 1, maxDelayMs: 1 },
        stallMs: 10_000,
        hedgeAfterMs: 10_000,
        readAheadBytes,
      });
    const isFree = ({ readAhead }: PackReader): boolean => {
      const probe = readAhead.join();
      const free = probe.take(1) && probe.take(readAheadBytes - 1); // the first would be let through in any case
      probe.leave();
      return free;
    };
    const read = async (reader: PackReader) =>
      (await world.fetcher({ reader }).run({ resource: RESOURCE, recipient: world.recipient })).read();

    const reader = newReader();
    for await (const part of await read(reader)) {
      expect(part.length).toBeGreaterThan(0);
      expect(isFree(reader)).toBe(false);
      break;
    }
    expect(isFree(reader)).toBe(true);
    expect((await collect(await read(reader))).equals(content)).toBe(true);
    expect(isFree(reader)).toBe(true);

    world.objects.tamper(key, () => undefined);
    const other = newReader();
    const { error } = await readUntilFailure(await read(other));
    expect(error).toMatchObject(refusal('cdn.missing'));
    expect(isFree(other)).toBe(true);
  });

  it('refuses changed bits all over a sealed chunk', async () => {
    const { world, key } = await publishedWorld(1);
    for (let bit = 0; bit < SEALED_TINY_BYTES * 8; bit += 5) {
      world.objects.tamper(key, (bytes) => flipped(bytes, bit));
      const { bytes, error } = await readUntilFailure(
        (
          await world
            .fetcher({ store: new InMemoryPackStore() })
            .run({ resource: RESOURCE, recipient: world.recipient })
        ).read(),
      );
      expect(bytes).toHaveLength(0);
      expect((error as ResourceError).code).toMatch(/^(?:resource\.integrity|chunk\.unsupported-codec)$/);
      world.objects.tamper(key, (changed) => flipped(changed, bit));
    }
    expect(await world.fetch({ store: new InMemoryPackStore() })).toHaveLength(64);
  });

  it('refuses chunks in another order', async () => {
    const { world, key } = await publishedWorld();
    world.objects.tamper(key, (bytes) => {
      const first = bytes.slice(0, SEALED_TINY_BYTES);
      bytes.copyWithin(0, SEALED_TINY_BYTES, 2 * SEALED_TINY_BYTES);
      bytes.set(first, SEALED_TINY_BYTES);
      return bytes;
    });
    await expect(world.fetch()).rejects.toMatchObject(refusal('resource.integrity'));
  });

  it('says cdn.missing for a pack that was cut short, and for one that is gone', async () => {
    const { world, key } = await publishedWorld();
    world.objects.tamper(key, (bytes) => bytes.subarray(0, 1000));
    await expect(world.fetch()).rejects.toMatchObject({
      ...refusal('cdn.missing'),
      cause: { code: 'pack.truncated' },
    });
    world.objects.tamper(key, () => undefined);
    await expect(world.fetch({ store: new InMemoryPackStore() })).rejects.toMatchObject({
      ...refusal('cdn.missing'),
      cause: { code: 'pack.not-found' },
    });
  });

  it('recovers from a damaged disk by fetching the chunk once more', async () => {
    const { world, content, key } = await publishedWorld();
    await world.fetch();
    const sentBefore = world.source.sentBytes;
    world.store.damage(world.admin.folderId, key.slice(-32), 30 * SEALED_TINY_BYTES + 50);
    expect((await world.fetch()).equals(content)).toBe(true);
    expect(world.source.sentBytes - sentBefore).toBe(SEALED_TINY_BYTES);
    expect((await world.fetch()).equals(content)).toBe(true);
    expect(world.source.sentBytes - sentBefore).toBe(SEALED_TINY_BYTES);
  });

  it.each([[[30]], [[0]], [[99]], [[10, 11, 50]]])(
    'recovers damaged chunks %j of a range whose memory was taken away',
    async (damaged) => {
      const { world, content, key } = await publishedWorld();
      const opener = new TakingOpener();
      await world.fetch({ opener });
      const sentBefore = world.source.sentBytes;
      for (const index of damaged)
        world.store.damage(world.admin.folderId, key.slice(-32), index * SEALED_TINY_BYTES + 50);
      const opened = await world.fetcher({ opener }).run({ resource: RESOURCE, recipient: world.recipient });
      const seen: FetchProgress[] = [];
      expect((await collect(opened.read(undefined, (progress) => seen.push(progress)))).equals(content)).toBe(true);
      expect(world.source.sentBytes - sentBefore).toBe(damaged.length * SEALED_TINY_BYTES);
      expect(seen.at(-1)).toEqual({
        openedBytes: content.length,
        downloadedBytes: damaged.length * SEALED_TINY_BYTES,
        cachedBytes: 100 * SEALED_TINY_BYTES,
      });
    },
  );

  it('asks the source behind a rotten directory for the rest of a range once two chunks of it were bad', async () => {
    const { world, content } = await publishedWorld();
    let readBytes = 0;
    class CountedRot extends PackSource {
      override readonly remote = false;
      override open(...[, range]: Parameters<PackSource['open']>): Promise<Readable> {
        readBytes += range.end - range.start;
        return Promise.resolve(Readable.from([Buffer.alloc(range.end - range.start, 7)]));
      }
    }
    expect((await world.fetch({ sources: [new CountedRot(), world.source] })).equals(content)).toBe(true);
    expect(readBytes).toBeLessThan(2 * 100 * SEALED_TINY_BYTES);
  });

  it('recovers from a pre-deployed directory with bad bytes through the source behind it', async () => {
    const { world, content } = await publishedWorld();
    class RottenDirectory extends PackSource {
      override readonly remote = false;
      override open(...[, range]: Parameters<PackSource['open']>): Promise<Readable> {
        return Promise.resolve(Readable.from([Buffer.alloc(range.end - range.start, 7)]));
      }
    }
    expect((await world.fetch({ sources: [new RottenDirectory(), world.source] })).equals(content)).toBe(true);
  });
});

describe('FetchResource with changed recipes', () => {
  it.each(['root/0', 'chunks/0', 'packs/0'])('refuses changed bits all over %s', async (part) => {
    const { world } = await publishedWorld(2);
    let sealedBytes = 1;
    // Every single bit is tried where segments are opened, in the crypto lib.
    for (let bit = 0; bit < 8 * sealedBytes; bit += 1 + 2 * Math.ceil(sealedBytes / 10)) {
      const api = new MeddlingApi(world, {
        segment: (sealed, asked) => {
          if (asked !== part) return sealed;
          sealedBytes = sealed.length;
          return flipped(sealed, bit);
        },
      });
      await expect(world.fetch({ api })).rejects.toMatchObject(refusal('resource.integrity'));
    }
    expect(sealedBytes).toBeGreaterThan(28);
    expect((await world.fetch()).length).toBe(128);
  });

  it.each(['root/0', 'chunks/0', 'packs/0'])('refuses %s of another version and keeps nothing of it', async (part) => {
    const { world } = await publishedWorld(2);
    await world.publish(randomBytes(128));
    const older = await world.grants.grant({
      resource: RESOURCE,
      version: 1,
      recipientPoint: world.recipient.point,
      nonce: 'x',
    });
    const [kind, index] = part.split('/') as ['root' | 'chunks' | 'packs', string];
    const api = new MeddlingApi(world, {
      segment: (sealed, asked) => (asked === part ? world.admin.segment(older.grantId, kind, Number(index)) : sealed),
    });
    await expect(world.fetch({ api })).rejects.toMatchObject(refusal('resource.integrity'));
    expect(await world.fetch()).toHaveLength(128);
  });

  it('refuses a part that is too long', async () => {
    const { world } = await publishedWorld(2);
    const api = new MeddlingApi(world, { segment: () => new Uint8Array(10_000_000) });
    await expect(world.fetch({ api })).rejects.toMatchObject(refusal('api.unexpected'));
  });
});

describe('FetchResource with grants', () => {
  it('refuses another version than was asked for', async () => {
    const { world } = await publishedWorld();
    await world.publish(randomBytes(100));
    const api = new MeddlingApi(world, { ask: (request) => ({ ...request, version: 1 }) });
    await expect(world.fetch({ api }, 2)).rejects.toMatchObject(refusal('grant.not-for-statement'));
  });

  it('refuses another resource than was asked for', async () => {
    const { world } = await publishedWorld();
    const api = new MeddlingApi(world, { ask: (request) => ({ ...request, resource: RESOURCE }) });
    const other = { folder: 'models', name: 'another' };
    await expect(world.fetcher({ api }).run({ resource: other, recipient: world.recipient })).rejects.toMatchObject(
      refusal('grant.not-for-statement'),
    );
  });

  it("refuses an answer to another request, and another device's grant", async () => {
    const { world } = await publishedWorld();
    const stale = new MeddlingApi(world, { ask: (request) => ({ ...request, nonce: 'another' }) });
    await expect(world.fetch({ api: stale })).rejects.toMatchObject(refusal('grant.wrong-nonce'));
    const foreign = new MeddlingApi(world, {
      ask: (request) => ({ ...request, recipientPoint: softwareRecipient().point }),
    });
    await expect(world.fetch({ api: foreign })).rejects.toMatchObject(refusal('grant.foreign-recipient'));
  });

  it('refuses what another device published for itself', async () => {
    const world = await World.create();
    world.admin.scope = 'device:jetson-1';
    await world.publish(randomBytes(100));
    await expect(world.fetch()).rejects.toMatchObject(refusal('statement.scope'));
    const opened = await world.fetcher().run({ resource: RESOURCE, recipient: softwareRecipient('jetson-1') });
    expect(await collect(opened.read())).toHaveLength(100);
  });

  it('refuses the newest version when it is older than one used before, unless it is asked for by number', async () => {
    const { world, content } = await publishedWorld();
    await world.publish(randomBytes(100));
    await world.fetch();
    world.admin.forgetVersionsAfter(RESOURCE, 1);
    await expect(world.fetch()).rejects.toMatchObject(refusal('resource.rollback-refused'));
    expect((await world.fetch({}, 1)).equals(content)).toBe(true);
  });

  it('refuses a withdrawn version and an expired grant', async () => {
    const clock = new ManualClock(1_800_000_000_000);
    const world = await World.create({ clock });
    await world.publish(randomBytes(100));
    const late = new ManualClock(clock.nowMs() + 30 * 86_400_000);
    await expect(world.fetch({ clock: late })).rejects.toMatchObject(refusal('grant.expired'));
    world.admin.minVersion = 2;
    await expect(world.fetch()).rejects.toMatchObject(refusal('grant.withdrawn'));
  });

  it('reads the key document again, once, for a key it does not know', async () => {
    const { world } = await publishedWorld();
    await world.fetch();
    await world.admin.rotateStatementKey();
    await world.publish(randomBytes(70));
    expect(await world.fetch()).toHaveLength(70);
    await world.admin.retireOlderStatementKeys();
    await world.fetch();
    await expect(world.fetch({ trust: world.newTrust() }, 1)).rejects.toMatchObject(refusal('statement.key-unknown'));
  });

  it('reads the key document again when only the grant token names a key it does not know', async () => {
    const { world, content } = await publishedWorld();
    await world.fetch();
    await world.admin.rotateStatementKey();
    expect((await world.fetch()).equals(content)).toBe(true);
  });

  it('asks for a new grant of the same version when the one it reads with has expired', async () => {
    const { world, content } = await severalPacks();
    const asked: (number | undefined)[] = [];
    const api = new MeddlingApi(world, {
      ask: (request) => {
        asked.push(request.version);
        return request;
      },
    });
    class Forgetful extends InMemorySegmentStore {
      override write = (): Promise<void> => Promise.resolve();
    }
    const fetcher = world.fetcher({ api, segments: new Forgetful() });
    const opened = await fetcher.run({ resource: RESOURCE, recipient: world.recipient });
    await world.publish(randomBytes(100));
    world.admin.expireGrants();
    expect((await collect(opened.read())).equals(content)).toBe(true);
    world.admin.expireGrants();
    expect((await collect(opened.read({ start: 1000, end: 1100 }))).equals(content.subarray(1000, 1100))).toBe(true);
    expect(asked).toEqual([undefined, 1, 1]);
  });

  it('refuses to go on with a grant of another version, and with none', async () => {
    const { world } = await severalPacks();
    let deniedFrom = Infinity;
    let asked = 0;
    const api = new MeddlingApi(world, {
      ask: (request) => {
        if (++asked > deniedFrom) throw new ResourceError('resource.forbidden', 'It may be read no longer.');
        return asked > 1 ? { ...request, version: 2 } : request;
      },
    });
    const fetcher = world.fetcher({ api, segments: new InMemorySegmentStore() });
    const opened = await fetcher.run({ resource: RESOURCE, recipient: world.recipient });
    await world.publish(randomBytes(100));
    world.admin.expireGrants();
    await expect(collect(opened.read())).rejects.toMatchObject(refusal('grant.not-for-statement'));
    deniedFrom = asked;
    await expect(collect(opened.read())).rejects.toMatchObject(refusal('resource.forbidden'));
  });

  it('remembers no version of a resource that it refused', async () => {
    const { world } = await publishedWorld();
    const api = new MeddlingApi(world, { segment: (sealed) => flipped(sealed, 0) });
    await expect(world.fetch({ api })).rejects.toThrow(ResourceError);
    const { folderId } = world.admin;
    expect(await world.trust.highestVersion(folderId, world.admin.open(RESOURCE).resourceId)).toBe(0);
  });
});

describe('FetchResource over a bad network', () => {
  it('asks again for the first grant when the Admin API ends in the middle of it, three times at most', async () => {
    const { world, content } = await publishedWorld();
    let asked = 0;
    let failures = 2;
    const api = new MeddlingApi(world, {
      grant: (answer) => {
        asked++;
        if (failures-- > 0) throw new ResourceError('api.unreachable', 'The connection broke.');
        return answer;
      },
    });
    expect((await world.fetch({ api })).equals(content)).toBe(true);
    asked = 0;
    failures = Infinity;
    await expect(world.fetch({ api })).rejects.toMatchObject(refusal('api.unreachable'));
    expect(asked).toBe(3);
  });

  it.each(['root/0', 'chunks/0', 'packs/0'])(
    'asks again for %s when the connection to the Admin API breaks',
    async (part) => {
      const { world, content } = await publishedWorld();
      let failures = 2;
      const api = new MeddlingApi(world, {
        segment: (sealed, asked) => {
          if (asked === part && failures-- > 0) throw new ResourceError('api.unreachable', 'The connection broke.');
          return sealed;
        },
      });
      expect((await world.fetch({ api })).equals(content)).toBe(true);
      failures = Infinity;
      await expect(world.fetch({ api, segments: new InMemorySegmentStore() })).rejects.toMatchObject(
        refusal('api.unreachable'),
      );
    },
  );

  const unavailable = (): Promise<Readable> =>
    Promise.reject(new ResourceError('pack.unavailable', 'Try again later.', { details: { retryAfterSeconds: 0 } }));

  it('repeats what failed for a while, and gives up with cdn.unavailable', async () => {
    const { world, content } = await publishedWorld();
    const twice = new FailingSource(world.source, (open) => (open <= 2 ? unavailable() : undefined));
    expect((await world.fetch({ sources: [twice] })).equals(content)).toBe(true);
    const always = new FailingSource(world.source, unavailable);
    await expect(world.fetch({ sources: [always], store: new InMemoryPackStore() })).rejects.toMatchObject(
      refusal('cdn.unavailable'),
    );
    expect(always.opens).toBe(3);
  });

  it('goes on after the last byte that arrived', async () => {
    const { world, content } = await publishedWorld();
    const starts: number[] = [];
    let firstEnd: number | undefined;
    let cutAt = NaN;
    class CutOnce extends PackSource {
      override open(...[location, range]: Parameters<PackSource['open']>): Promise<Readable> {
        firstEnd ??= range.end;
        if (range.end !== firstEnd) return world.source.open(location, range);
        starts.push(range.start);
        if (starts.length > 1) return world.source.open(location, range);
        cutAt = Math.ceil(range.end / 3);
        return world.source.open(location, { ...range, end: cutAt });
      }
    }
    expect((await world.fetch({ sources: [new CutOnce()] })).equals(content)).toBe(true);
    expect(starts).toEqual([0, cutAt]);
    expect(world.source.sentBytes).toBe((await world.store.usage()).bytes);
  });

  it('replaces a connection that brings no byte', async () => {
    const { world, content } = await publishedWorld();
    const stalling = new FailingSource(world.source, (open) =>
      open === 1 ? Promise.resolve(new PassThrough()) : undefined,
    );
    expect((await world.fetch({ sources: [stalling], stallMs: 20 })).equals(content)).toBe(true);
  });

  it('refuses a source that sends more than was asked for', async () => {
    const { world, content } = await publishedWorld();
    const generous = new FailingSource(world.source, (open) =>
      open === 1 ? Promise.resolve(Readable.from([Buffer.alloc(100_000)])) : undefined,
    );
    expect((await world.fetch({ sources: [generous] })).equals(content)).toBe(true);
  });

  it('renews a URL once, then says cdn.missing', async () => {
    const clock = new ManualClock(1_800_000_000_000);
    const world = await World.create({ clock });
    await world.publish(randomBytes(1000));
    const opened = await world.fetcher().run({ resource: RESOURCE, recipient: world.recipient });
    clock.advance(901_000);
    expect(await collect(opened.read())).toHaveLength(1000);
    const forbidding = new FailingSource(world.source, () =>
      Promise.reject(new ResourceError('pack.forbidden', 'The URL is not accepted.')),
    );
    await expect(world.fetch({ sources: [forbidding], store: new InMemoryPackStore() })).rejects.toMatchObject(
      refusal('cdn.missing'),
    );
    expect(forbidding.opens).toBe(2);
  });

  it('asks the sources in order and stores nothing that is on this machine already', async () => {
    const { world, content, key } = await publishedWorld();
    const { sizeBytes: end = 0 } = (await world.objects.head(key)) ?? {};
    const bytes = world.objects.get(await world.objects.signGet(key, 60), { start: 0, end });
    class Directory extends PackSource {
      override readonly remote = false;
      override open(...[location, range]: Parameters<PackSource['open']>): Promise<Readable> {
        expect(packObjectKey(location.folderId, location.pack.packId)).toBe(key);
        return Promise.resolve(Readable.from([bytes.subarray(range.start, range.end)]));
      }
    }
    const opened = await world
      .fetcher({ sources: [new Directory(), world.source] })
      .run({ resource: RESOURCE, recipient: world.recipient });
    const totals: number[] = [];
    const parts = await collect(opened.read(undefined, (progress) => totals.push(progress.downloadedBytes)));
    expect(parts.equals(content)).toBe(true);
    expect(totals.at(-1)).toBe(0);
    expect(world.source.sentBytes).toBe(0);
    expect((await world.store.usage()).bytes).toBe(0);
  });

  it('says resource.no-space before the first byte is fetched', async () => {
    const { world } = await publishedWorld();
    const store = new InMemoryPackStore(1000);
    await expect(world.fetch({ store })).rejects.toMatchObject(refusal('resource.no-space'));
    expect(world.source.sentBytes).toBe(0);
  });
});

describe('FetchResource with a small store', () => {
  it('lets through what is larger than the store', async () => {
    const world = await World.create();
    const content = randomBytes(40 * 1024 * 1024);
    await world.publish(content);
    const store = new InMemoryPackStore(MAX_PACK_BYTES);
    expect((await world.fetch({ store })).equals(content)).toBe(true);
    expect((await store.usage()).bytes).toBeLessThanOrEqual(MAX_PACK_BYTES);
  });
});

describe('FetchResource that opens when it is asked', () => {
  it('begins a range when the last chunks of the one before are left, so that whoever opens never rests', async () => {
    const { world, content } = await largeWorld();
    await world.fetch(); // now everything lies in the store
    const parts: Buffer[] = [];
    const opener = new NotingOpener(() => parts.length);
    const opened = await world.fetcher({ opener }).run({ resource: RESOURCE, recipient: world.recipient });
    for await (const part of opened.read()) {
      parts.push(part);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(Buffer.concat(parts).equals(content)).toBe(true);
    const [first, second, ...others] = opener.begun;
    expect(first).toEqual({ chunks: 1, handedOutBefore: 0 });
    expect(second?.handedOutBefore).toBeLessThanOrEqual(1); // the first chunk comes by itself
    expect(others.length).toBeGreaterThanOrEqual(3);
    let start = 1 + (second?.chunks ?? 0);
    for (const { chunks, handedOutBefore } of others) {
      expect(handedOutBefore).toBeLessThan(start);
      expect(handedOutBefore).toBeGreaterThanOrEqual(start - CHUNKS_AHEAD);
      start += chunks;
    }
    expect(start).toBe(parts.length);
  });
});

describe('FetchResource with several readers', () => {
  it('asks for the first chunk by itself, so that it comes soon', async () => {
    const { world } = await largeWorld();
    const asked: number[] = [];
    class Recording extends PackSource {
      override open(...[location, range]: Parameters<PackSource['open']>): Promise<Readable> {
        asked.push(range.end - range.start);
        return world.source.open(location, range);
      }
    }
    const opened = await world
      .fetcher({ sources: [new Recording()] })
      .run({ resource: RESOURCE, recipient: world.recipient });
    for await (const part of opened.read()) {
      expect(asked[0]).toBe(part.length + CHUNK_OVERHEAD_BYTES);
      break;
    }
  });

  it('fetches what all of them want once', async () => {
    const { world, content } = await largeWorld();
    const opened = await world.fetcher().run({ resource: RESOURCE, recipient: world.recipient });
    const reads = await Promise.all(Array.from({ length: 6 }, () => collect(opened.read())));
    expect(reads.every((bytes) => bytes.equals(content))).toBe(true);
    expect(world.source.sentBytes).toBe((await world.store.usage()).bytes);
  });

  it('reads ahead for all of them together no more than one budget, however slow they are', async () => {
    const world = await World.create();
    const versions = [1, 2, 3, 4];
    for (const version of versions) expect(await world.publish(randomBytes(5_000_000))).toMatchObject({ version });
    const reader = new PackReader(world.store, [world.source], {
      retry: { attempts: 1, baseDelayMs: 1, maxDelayMs: 1 },
      stallMs: 10_000,
      hedgeAfterMs: 1000,
      readAheadBytes: 1_000_000,
    });
    const fetcher = world.fetcher({ reader });
    const reads = await Promise.all(
      versions.map(async (version) => {
        const opened = await fetcher.run({ resource: RESOURCE, version, recipient: world.recipient });
        return opened.read()[Symbol.asyncIterator]();
      }),
    );
    await Promise.all(reads.map((read) => read.next()));
    for (let quiet = 0, sent = 0; quiet < 50; quiet++) {
      await new Promise((resolve) => setImmediate(resolve));
      if (world.source.sentBytes !== sent) quiet = 0;
      sent = world.source.sentBytes;
    }
    // The budget, and the first range of each.
    expect(world.source.sentBytes).toBeLessThanOrEqual(1_000_000 + versions.length * 600_000);
    const rest = await Promise.all(
      reads.map(async (read) => {
        let length = 0;
        for (let part = await read.next(); part.done !== true; part = await read.next()) length += part.value.length;
        return length;
      }),
    );
    expect(rest.every((length) => length > 4_000_000)).toBe(true);
  });

  it('serves the others when the one who was fetching gives up', async () => {
    const { world, content } = await largeWorld();
    const opened = await world.fetcher().run({ resource: RESOURCE, recipient: world.recipient });
    const stop = new AbortController();
    const leaving = collect(opened.read(undefined, undefined, stop.signal));
    const staying = collect(opened.read());
    stop.abort(new Error('enough'));
    await expect(leaving).rejects.toThrow('enough');
    expect((await staying).equals(content)).toBe(true);
  });

  it('ends the work behind a reader who stops', async () => {
    const { world } = await largeWorld();
    let asked = 0;
    let closed = 0;
    class SlowFromTheThird extends PackSource {
      override async open(...[location, range]: Parameters<PackSource['open']>): Promise<Readable> {
        if (++asked <= 2) return world.source.open(location, range);
        const stream = new PassThrough();
        stream.on('close', () => closed++);
        return stream;
      }
    }
    const opened = await world
      .fetcher({ sources: [new SlowFromTheThird()] })
      .run({ resource: RESOURCE, recipient: world.recipient });
    for await (const part of opened.read()) {
      expect(part.length).toBeGreaterThan(0);
      if (asked > 2) break;
    }
    while (closed === 0) await new Promise((resolve) => setImmediate(resolve));
    expect(closed).toBeGreaterThan(0);
  });

  it('reads nothing for a request that was given up', async () => {
    const { world } = await publishedWorld();
    const signal = AbortSignal.abort(new Error('enough'));
    await expect(world.fetcher().run({ resource: RESOURCE, recipient: world.recipient, signal })).rejects.toThrow(
      'enough',
    );
    const opened = await world.fetcher().run({ resource: RESOURCE, recipient: world.recipient });
    await expect(collect(opened.read(undefined, undefined, signal))).rejects.toThrow('enough');
    expect(world.source.sentBytes).toBe(0);
  });

  it('fetches after a restart only what was not there yet', async () => {
    const { world, content } = await largeWorld();
    const opened = await world.fetcher().run({ resource: RESOURCE, recipient: world.recipient });
    for await (const part of opened.read()) {
      expect(part.length).toBeGreaterThan(0);
      if ((await world.store.usage()).bytes > 0) break;
    }
    const kept = (await world.store.usage()).bytes;
    const sentBefore = world.source.sentBytes;
    expect((await world.fetch()).equals(content)).toBe(true);
    const sealedBytes = (await world.store.usage()).bytes;
    expect(world.source.sentBytes - sentBefore).toBeLessThanOrEqual(sealedBytes - kept);
  });
});
