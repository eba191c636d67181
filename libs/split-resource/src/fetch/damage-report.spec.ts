import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';

import type { ResourceName } from '@azaion/kernel';

import { InlineChunkOpener, type OpenedChunks, type SealedRun } from '../chunk-work.js';
import { ResourceError } from '../errors.js';
import { PackSource } from '../ports/pack-source.js';
import { InMemoryGrantApi } from '../testing/in-memory-admin-api.js';
import { InMemoryPackStore } from '../testing/in-memory-pack-store.js';
import { RESOURCE, TINY, World } from '../testing/world.js';
import { refusal } from '../testing/refusal.js';

/** Notes what is reported, and may refuse it. */
class NotingApi extends InMemoryGrantApi {
  readonly reports: { resource: ResourceName; version: number; chunk: number }[] = [];

  constructor(
    world: World,
    private readonly refusal?: Error,
  ) {
    super(world.admin);
  }

  override async reportBadChunk(resource: ResourceName, version: number, chunk: number): Promise<void> {
    this.reports.push({ resource, version, chunk });
    if (this.refusal) throw this.refusal;
    await super.reportBadChunk(resource, version, chunk);
  }
}

const flip = (at: number) => (bytes: Uint8Array) => {
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  return bytes;
};

describe('a chunk that does not open twice', () => {
  const damaged = async (): Promise<{ world: World; content: Buffer }> => {
    const world = await World.create({ chunking: TINY });
    const content = randomBytes(64 * 10);
    await world.publish(content);
    world.objects.tamper(world.objects.keys()[0] ?? '', flip(5 * 93 + 40));
    return { world, content };
  };

  it('is reported by its index in the version, once, and the read fails all the same', async () => {
    const { world } = await damaged();
    const api = new NotingApi(world);
    await expect(world.fetch({ api })).rejects.toMatchObject(refusal('resource.integrity'));
    expect(api.reports).toEqual([{ resource: RESOURCE, version: 1, chunk: 5 }]);
  });

  it('was opened by the opener both times, the second time alone', async () => {
    const { world } = await damaged();
    const runs: number[] = [];
    class NotingOpener extends InlineChunkOpener {
      override open(run: SealedRun): AsyncGenerator<OpenedChunks, void> {
        runs.push(run.chunks.length);
        return super.open(run);
      }
    }
    await expect(world.fetch({ opener: new NotingOpener() })).rejects.toMatchObject(refusal('resource.integrity'));
    expect(runs).toEqual([1, 9, 1]); // the first chunk of a read is opened by itself
  });

  it('is not reported when no thread could open it the second time', async () => {
    const { world } = await damaged();
    const api = new NotingApi(world);
    const ended = new Error('A worker thread ended.');
    let runs = 0;
    class EndingOpener extends InlineChunkOpener {
      override open(run: SealedRun): AsyncGenerator<OpenedChunks, void> {
        if (++runs === 3) throw ended;
        return super.open(run);
      }
    }
    await expect(world.fetch({ api, opener: new EndingOpener() })).rejects.toBe(ended);
    expect([runs, api.reports]).toEqual([3, []]);
  });

  it('is the same failure when nobody takes the report', async () => {
    const { world } = await damaged();
    const api = new NotingApi(world, new ResourceError('api.unreachable', 'The API is away.'));
    await expect(world.fetch({ api })).rejects.toMatchObject(refusal('resource.integrity'));
  });

  it('is not reported when it opened the second time: the damage was on the way or on the disk', async () => {
    const { world, content } = await damaged();
    world.objects.tamper(world.objects.keys()[0] ?? '', flip(5 * 93 + 40));
    const api = new NotingApi(world);
    const store = new InMemoryPackStore();
    await world.fetch({ api, store });
    const read = store.read.bind(store);
    let reads = 0;
    store.read = async (...range) => {
      const bytes = await read(...range);
      return bytes && reads++ === 0 ? (flip(5 * 93 + 40)(Buffer.from(bytes)) as Buffer) : bytes;
    };
    expect((await world.fetch({ api, store })).equals(content)).toBe(true);
    expect(reads).toBeGreaterThan(0);
    expect(api.reports).toEqual([]);
  });

  it('is replaced by the next publish of the same bytes, which makes a version that opens', async () => {
    const { world, content } = await damaged();
    await expect(world.fetch()).rejects.toMatchObject(refusal('resource.integrity'));
    const repaired = await world.publish(content);
    expect(repaired).toMatchObject({ version: 2, created: true, dedupedBytes: 64 * 9 });
    expect((await world.fetch()).equals(content)).toBe(true);
  });
});

const TWO_CHUNKS = 2 * 93;

/** A source that fails with this code wherever it is asked. */
class FailingSource extends PackSource {
  constructor(
    private readonly code: 'pack.not-found' | 'pack.truncated' | 'pack.forbidden' | 'pack.unavailable',
    override readonly remote: boolean,
  ) {
    super();
  }

  override open(): Promise<never> {
    return Promise.reject(new ResourceError(this.code, 'It has nothing.'));
  }
}

describe.each<[string, string, number, (object: Uint8Array) => Uint8Array | undefined]>([
  ['is gone from the CDN', 'pack.not-found', 0, () => undefined],
  ['ends in the CDN behind its first chunk', 'pack.truncated', 1, (object) => object.subarray(0, 93)],
  ['ends in the CDN within its last chunk', 'pack.truncated', 1, (object) => object.subarray(0, TWO_CHUNKS - 1)],
  ['has no byte left in the CDN', 'pack.truncated', 0, () => new Uint8Array()],
])('a pack that %s', (_name, cause, firstLost, lose) => {
  /** Three packs of two chunks, of which those at these places are lost. */
  const lost = async (...places: readonly number[]): Promise<{ world: World; content: Buffer }> => {
    const world = await World.create({ chunking: TINY, packTargetBytes: TWO_CHUNKS });
    const content = randomBytes(64 * 6);
    await world.publish(content);
    const keys = world.objects.keys();
    expect(keys).toHaveLength(3);
    for (const place of places) world.objects.tamper(keys[place] ?? '', lose);
    return { world, content };
  };

  it('is reported by a chunk that is lost, once, and the read fails all the same', async () => {
    const { world } = await lost(1);
    const api = new NotingApi(world);
    await expect(world.fetch({ api })).rejects.toMatchObject({ code: 'cdn.missing', cause: { code: cause } });
    expect(api.reports).toEqual([{ resource: RESOURCE, version: 1, chunk: 3 }]);
  });

  it('is reported although a directory that was shipped does not have it either', async () => {
    const { world } = await lost(0, 1, 2);
    const api = new NotingApi(world);
    const shipped = new FailingSource('pack.not-found', false);
    await expect(world.fetch({ api, sources: [shipped, world.source] })).rejects.toMatchObject({ code: 'cdn.missing' });
    expect(api.reports.map(({ chunk }) => chunk)).toContain(firstLost);
  });

  it('is the same failure when nobody takes the report', async () => {
    const { world } = await lost(0);
    const api = new NotingApi(world, new ResourceError('api.unreachable', 'The API is away.'));
    await expect(world.fetch({ api })).rejects.toMatchObject({ code: 'cdn.missing' });
  });

  it('is sent again by the next publish of the same bytes, which makes a version that opens', async () => {
    const { world, content } = await lost(1);
    await expect(world.fetch()).rejects.toMatchObject({ code: 'cdn.missing' });
    expect(await world.publish(content)).toMatchObject({ version: 2, created: true, dedupedBytes: 64 * 4 });
    expect((await world.fetch()).equals(content)).toBe(true);
  });
});

describe('a pack that the CDN has', () => {
  it.each(['pack.forbidden', 'pack.unavailable'] as const)(
    'is not taken for lost after %s, whatever a directory has: the object may be there',
    async (code) => {
      const world = await World.create({ chunking: TINY, packTargetBytes: TWO_CHUNKS });
      await world.publish(randomBytes(64 * 6));
      const api = new NotingApi(world);
      const sources = [new FailingSource('pack.not-found', false), new FailingSource(code, true)];
      await expect(world.fetch({ api, sources })).rejects.toMatchObject({
        code: code === 'pack.forbidden' ? 'cdn.missing' : 'cdn.unavailable',
      });
      expect(api.reports).toEqual([]);
    },
  );

  it('is read where one source has lost its end and another has all of it: nothing is reported', async () => {
    const world = await World.create({ chunking: TINY, packTargetBytes: TWO_CHUNKS });
    const content = randomBytes(64 * 6);
    await world.publish(content);
    const api = new NotingApi(world);
    const sources = [new FailingSource('pack.truncated', true), world.source];
    expect((await world.fetch({ api, sources })).equals(content)).toBe(true);
    expect(api.reports).toEqual([]);
  });

  it('may break off for good without being taken for cut short', async () => {
    const world = await World.create({ chunking: TINY, packTargetBytes: TWO_CHUNKS });
    await world.publish(randomBytes(64 * 6));
    const api = new NotingApi(world);
    class BreakingOff extends PackSource {
      override open(): Promise<Readable> {
        return Promise.resolve(Readable.from([])); // ends without a byte, and without a word
      }
    }
    await expect(world.fetch({ api, sources: [new BreakingOff()] })).rejects.toMatchObject({ code: 'cdn.unavailable' });
    expect(api.reports).toEqual([]);
  });
});

describe('a resource that an administrator has pinned', () => {
  it('opens in that version although a newer one was used before, and in the newest again afterwards', async () => {
    const world = await World.create();
    const [first, second] = [randomBytes(1000), randomBytes(1000)];
    await world.publish(first);
    await world.publish(second);
    expect((await world.fetch()).equals(second)).toBe(true);
    world.admin.pinned = 1;
    expect((await world.fetch()).equals(first)).toBe(true);
    expect((await world.fetch({}, 2)).equals(second)).toBe(true);
    world.admin.pinned = undefined;
    expect((await world.fetch()).equals(second)).toBe(true);
    world.admin.forgetVersionsAfter(RESOURCE, 1);
    await expect(world.fetch()).rejects.toMatchObject(refusal('resource.rollback-refused'));
  });
});
