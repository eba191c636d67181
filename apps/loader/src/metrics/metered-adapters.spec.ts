import { Readable } from 'node:stream';

import { CryptoError } from '@azaion/crypto';
import type { Caller } from '@azaion/identity';
import { Metrics } from '@azaion/nest-support';
import {
  ChunkOpener,
  type GrantApi,
  type OpenedChunks,
  type PackSink,
  type PackSource,
  type PackStore,
} from '@azaion/split-resource';

import type { LoaderAdapters } from '../loader-adapters.js';
import type { CallerApis, TokenBearer } from '../session/caller-apis.js';
import { LoaderMetrics } from './loader-metrics.js';
import { meteredAdapters } from './metered-adapters.js';

const BEARER: TokenBearer = { caller: { userId: 'u' } as Caller, token: 't' };
const { signal } = new AbortController();

/** Notes each call and gives an answer that nobody else could: whatever is called, it is there. */
function noting(answer: unknown): { port: never; calls: [string, ...unknown[]][] } {
  const calls: [string, ...unknown[]][] = [];
  const port = new Proxy({} as never, {
    get: (_, name) =>
      typeof name !== 'string' || name === 'remote'
        ? false
        : (...given: unknown[]) => {
            calls.push([name, ...given]);
            return answer;
          },
  });
  return { port, calls };
}

/** Arguments for every method of a port: one that is added to the port and not here does not compile. */
type Calls<Port> = Readonly<Record<keyof Port & string, readonly unknown[]>>;

const store: Calls<PackStore> = {
  read: ['f', { packId: 'p', sizeBytes: 1 }, { start: 0, end: 1 }],
  missing: ['f', { packId: 'p', sizeBytes: 1 }, { start: 0, end: 1 }],
  write: ['f', { packId: 'p', sizeBytes: 1 }, 0, Buffer.of(1)],
  discard: ['f', { packId: 'p', sizeBytes: 1 }, { start: 0, end: 1 }],
  reserve: [7],
  capacityBytes: [],
  usage: [],
  spare: [() => false],
};
const grants: Calls<GrantApi> = {
  grant: [{ resource: { folder: 'f', name: 'n' } }],
  segment: ['g', 'chunks', 3, 1024],
  packUrls: ['g', ['p']],
  reportBadChunk: [{ folder: 'f', name: 'n' }, 2, 5],
};
const apis: Calls<CallerApis> = {
  grants: [BEARER, signal],
  uploads: [BEARER],
  archiveKeys: [BEARER],
  list: [BEARER, 'f'],
};
const sink: Calls<PackSink> = { put: [{ url: 'u', headers: {} }, [Buffer.of(1)], 1000, signal] };
const source: Calls<PackSource> = {
  remote: [],
  open: [{ folderId: 'f', pack: { packId: 'p', sizeBytes: 1 }, url: 'u' }, { start: 0, end: 1 }, 1000, signal],
};
const opener: Calls<ChunkOpener> = { open: [{ bytes: Buffer.of(1), movable: true, chunks: [] }] };

let metrics: Metrics;

function metered(parts: Partial<LoaderAdapters>): LoaderAdapters {
  const nothing = noting(Promise.resolve({ bytes: 0, limitBytes: 0 })).port;
  const rest = { apis: nothing, sources: [], sink: nothing, store: nothing, opener: nothing, sessions: { size: 0 } };
  return meteredAdapters({ ...rest, ...parts } as unknown as LoaderAdapters, new LoaderMetrics(metrics));
}

const call = (port: object, method: string, given: readonly unknown[]): unknown =>
  (port as Record<string, (...given: readonly unknown[]) => unknown>)[method]?.(...given);

beforeEach(() => (metrics = new Metrics()));

describe('an adapter that is counted', () => {
  const answer = { byteLength: 1, length: 1 };

  it.each(Object.entries(store))('passes PackStore.%s on', async (method, given) => {
    const { port, calls } = noting(Promise.resolve(answer));
    expect(await call(metered({ store: port }).store, method, given)).toBe(answer);
    expect(calls).toEqual([[method, ...given]]);
  });

  it.each(Object.entries(grants))('passes GrantApi.%s on', async (method, given) => {
    const { port, calls } = noting(Promise.resolve(answer));
    const inner = noting(port);
    const api = metered({ apis: inner.port }).apis.grants(BEARER, signal);
    expect(await call(api, method, given)).toBe(answer);
    expect(calls).toEqual([[method, ...given]]);
  });

  it.each(Object.entries(apis))('passes CallerApis.%s on', async (method, given) => {
    const { port, calls } = noting(answer);
    const answered = await call(metered({ apis: port }).apis, method, given);
    if (method !== 'grants') expect(answered).toBe(answer); // grants are counted themselves
    expect(calls).toEqual([[method, ...given]]);
  });

  it.each(Object.entries(sink))('passes PackSink.%s on', async (method, given) => {
    const { port, calls } = noting(Promise.resolve());
    await call(metered({ sink: port }).sink, method, given);
    expect(calls).toEqual([[method, ...given]]);
  });

  it.each(Object.entries(source).filter(([method]) => method !== 'remote'))(
    'passes PackSource.%s on',
    async (method, given) => {
      const stream = Readable.from([]);
      const { port, calls } = noting(Promise.resolve(stream));
      const [wrapped] = metered({ sources: [port] }).sources;
      expect(await call(wrapped ?? {}, method, given)).toBe(stream);
      expect(calls).toEqual([[method, ...given]]);
    },
  );

  it.each([true, false])('says of a PackSource what it said: remote %s', (remote) => {
    const inner = Object.create({ remote }) as PackSource;
    expect(metered({ sources: [inner] }).sources).toMatchObject([{ remote }]);
  });

  it.each(Object.entries(opener))(
    'passes ChunkOpener.%s on at once, before the first is asked for',
    (method, given) => {
      const { port, calls } = noting((async function* () {})());
      call(metered({ opener: port }).opener, method, given);
      expect(calls).toEqual([[method, ...given]]);
    },
  );
});

describe('chunks that do not open', () => {
  it.each([
    ['whose check failed is counted', new CryptoError('chunk.invalid', 'damaged'), 1],
    ['in a codec of another release is not damaged', new CryptoError('chunk.unsupported-codec', 'newer'), 0],
    ['that no thread could work on is not damaged', new Error('A worker thread ended.'), 0],
  ])('one %s', async (_, failure, counted) => {
    const opened: OpenedChunks = { plaintext: Buffer.of(1), plaintextBytes: 1, count: 1 };
    class Failing extends ChunkOpener {
      // eslint-disable-next-line @typescript-eslint/require-await -- others work elsewhere
      override async *open(): AsyncGenerator<OpenedChunks, void> {
        yield opened;
        throw failure;
      }
    }
    const run = metered({ opener: new Failing() }).opener.open({ bytes: Buffer.of(1), movable: true, chunks: [] });
    expect((await run.next()).value).toBe(opened);
    await expect(run.next()).rejects.toBe(failure);
    expect(await metrics.text()).toContain(`azaion_chunk_failures_total ${String(counted)}`);
  });
});
