import { randomBytes } from 'node:crypto';

import { ManualClock } from '@azaion/kernel';

import { UnlockError, type UnlockErrorCode } from './errors.js';
import { type ArchiveInspector } from './ports/archive-inspector.js';
import { ArchiveSource, type OpenArchive } from './ports/archive-source.js';
import { type FlightGate } from './ports/flight-gate.js';
import { type EngineImage, type ImageAssignment, ImageRuntime } from './ports/image-runtime.js';
import { type ServiceStack } from './ports/service-stack.js';
import { type UnlockRecord } from './ports/unlock-records.js';
import {
  dockerArchive,
  InMemoryArchiveInspector,
  InMemoryArchiveSource,
  InMemoryImageRuntime,
  InMemoryUnlockRecords,
  inPieces,
  openInMemory,
} from './testing/index.js';
import { UnlockImages, type UnlockLimits, type UnlockRequest } from './unlock-images.js';
import { isRunning, UNLOCK_STATES, type UnlockState } from './unlock-state.js';

const DISK_FULL = new Error('disk full');
const NEVER = new AbortController().signal;
const PATIENT = { archive: 60_000, engine: 60_000, 'engine-end': 60_000 };
const FACTS = { loaded: null, lastGood: [], servicesDue: false };
const archive = dockerArchive([
  { reference: 'azaion/detections:1.4.0', content: randomBytes(20_000) },
  { reference: 'azaion/flights:1.4.0', content: randomBytes(10_000) },
]);
const references = archive.images.map(({ reference }) => reference);

interface Setup {
  readonly unlock: UnlockImages;
  readonly runtime: ImageRuntime;
  readonly records: InMemoryUnlockRecords;
  readonly errors: unknown[];
  /** Every state that a listener saw, in order. */
  readonly states: UnlockState[];
}

async function setUp(
  options: {
    runtime?: ImageRuntime;
    record?: Partial<UnlockRecord>;
    limits?: typeof PATIENT;
    trusting?: boolean;
    gate?: FlightGate;
    services?: ServiceStack;
    inspector?: ArchiveInspector;
  } = {},
): Promise<Setup> {
  const runtime = options.runtime ?? new InMemoryImageRuntime();
  const record: UnlockRecord = { state: 'idle', error: null, detail: null, images: [], ...FACTS, ...options.record };
  const records = new InMemoryUnlockRecords(options.record === undefined ? undefined : record);
  const errors: unknown[] = [];
  const unlock = await UnlockImages.restore({
    runtime: () => Promise.resolve(runtime),
    records,
    inspector:
      options.inspector ?? (options.trusting === true ? new TrustingInspector() : new InMemoryArchiveInspector()),
    gate: options.gate,
    services: options.services,
    clock: new ManualClock(0),
    limits: limits(options.limits),
    onError: (error) => errors.push(error),
  });
  const states: UnlockState[] = [];
  unlock.subscribe(() => states.push(unlock.status().state));
  return { unlock, runtime, records, errors, states };
}

function limits(stall = PATIENT): UnlockLimits {
  return { stall, gatePollMs: 1, healthTimeoutMs: 1000, linkRetryMs: { first: 1, longest: 4 } };
}

function request(source: ArchiveSource = new InMemoryArchiveSource(archive)): UnlockRequest {
  return { source, authenticate: () => Promise.resolve() };
}

async function run(setup: Setup, wish: UnlockRequest = request()): Promise<UnlockState> {
  await setup.unlock.start(wish);
  await setup.unlock.settled();
  return setup.unlock.status().state;
}

/** An archive whose whole is read in an odd way; ranges of it are as they should be. */
function source(read: () => AsyncIterable<Uint8Array>): ArchiveSource {
  const whole = openInMemory(archive.bytes);
  const open: OpenArchive = {
    ...whole,
    read: (signal, range) => (range === undefined ? read() : whole.read(signal, range)),
  };
  return new OddSource(() =>
    Promise.resolve({ images: archive.images, identity: 'odd', open: () => Promise.resolve(open) }),
  );
}

/** A source that answers as it is told. */
class OddSource extends ArchiveSource {
  constructor(override readonly find: ArchiveSource['find']) {
    super();
  }
}

/** A disk that is full. */
class FullRecords extends InMemoryUnlockRecords {
  override save(): Promise<void> {
    return Promise.reject(DISK_FULL);
  }
}

/** Looks at nothing: what an archive holds shows only in the engine. */
class TrustingInspector extends InMemoryArchiveInspector {
  override survey(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  override async *passThrough(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    yield* bytes;
  }
}

/** An engine that behaves in one way differently. */
class OddRuntime extends ImageRuntime {
  constructor(
    private readonly odd: Partial<Pick<ImageRuntime, 'present' | 'load' | 'assign' | 'layers'>>,
    private readonly engine = new InMemoryImageRuntime(),
  ) {
    super();
  }

  override present(wanted: readonly string[], signal: AbortSignal): Promise<readonly EngineImage[]> {
    return (this.odd.present ?? this.engine.present.bind(this.engine))(wanted, signal);
  }

  override load(bytes: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<readonly EngineImage[]> {
    return (this.odd.load ?? this.engine.load.bind(this.engine))(bytes, signal);
  }

  override assign(wanted: readonly ImageAssignment[], signal: AbortSignal): Promise<void> {
    return (this.odd.assign ?? this.engine.assign.bind(this.engine))(wanted, signal);
  }

  override layers(signal: AbortSignal): Promise<ReadonlySet<string>> {
    return (this.odd.layers ?? this.engine.layers.bind(this.engine))(signal);
  }
}

describe('UnlockImages (F4)', () => {
  it('passes through every state in order and ends ready, with the signed images in the engine', async () => {
    const setup = await setUp();
    expect(await setup.unlock.start(request())).toBe('authenticating');
    await setup.unlock.settled();
    expect(distinct(setup.states)).toEqual([
      'authenticating',
      'downloading_key',
      'decrypting',
      'loading_images',
      'ready',
    ]);
    expect(setup.unlock.status()).toEqual({
      state: 'ready',
      error: null,
      detail: null,
      progress: null,
      images: archive.images.map(({ reference, configDigest }) => ({ reference, configDigest, present: true })),
      report: {
        archiveBytes: archive.bytes.length,
        loadedBytes: archive.bytes.length,
        reusedBytes: 0,
        downloadedBytes: 0,
        cachedBytes: 2 * archive.bytes.length, // once to be looked at, once for the engine
        durationMs: 0,
      },
    });
    expect(await setup.runtime.present(references, NEVER)).toHaveLength(2);
  });

  it('saves every change, and nothing that is secret', async () => {
    const setup = await setUp();
    await run(setup);
    expect([...new Set(setup.records.saved.map(({ state }) => state))]).toEqual([...new Set(setup.states)]);
    expect(setup.records.saved.at(-1)).toEqual({
      state: 'ready',
      error: null,
      detail: null,
      images: archive.images,
      loaded: {
        identity: expect.any(String) as string,
        images: archive.images.map(({ reference, configDigest }) => ({ reference, imageId: configDigest })),
      },
      lastGood: [],
      servicesDue: false,
    });
  });

  it.each(['idle', 'ready', 'error'] as const)('is ready at once from %s when the images are there', async (state) => {
    const runtime = new InMemoryImageRuntime();
    await runtime.load(inPieces(archive.bytes, 1000), NEVER);
    const setup = await setUp({ runtime, record: { state, error: null, detail: null, images: [] } });
    expect(await setup.unlock.start(request(source(() => neverRead())))).toBe('ready');
    expect(setup.states).toEqual(['ready']);
  });

  it('loads again when a tag is there with another id', async () => {
    const runtime = new InMemoryImageRuntime();
    const older = dockerArchive(references.map((reference) => ({ reference, content: randomBytes(100) })));
    await runtime.load(inPieces(older.bytes, 1000), NEVER);
    const setup = await setUp({ runtime });
    expect(await run(setup)).toBe('ready');
    expect((await runtime.present(references, NEVER)).map(({ imageId }) => imageId)).toEqual(
      archive.images.map(({ configDigest }) => configDigest),
    );
  });

  it('starts nothing while a run is at work', async () => {
    const setup = await setUp();
    let open = (): void => undefined;
    const gate = new Promise<void>((resolve) => (open = resolve));
    const slow: UnlockRequest = { ...request(), authenticate: () => gate };
    const answers = [setup.unlock.start(slow), setup.unlock.start(request()), setup.unlock.start(request())];
    expect(await Promise.all(answers)).toEqual(['authenticating', 'authenticating', 'authenticating']);
    open();
    await setup.unlock.settled();
    expect(distinct(setup.states).filter((state) => state === 'authenticating')).toHaveLength(1);
    expect(setup.unlock.status().state).toBe('ready');
  });

  it('lets a second caller try when the first one was refused', async () => {
    const setup = await setUp();
    const refused = setup.unlock.start(request(new InMemoryArchiveSource(undefined)));
    const accepted = setup.unlock.start(request());
    await expect(refused).rejects.toMatchObject({ code: 'unlock.archive-not-found' });
    expect(await accepted).toBe('authenticating');
    await setup.unlock.settled();
    expect(setup.unlock.status().state).toBe('ready');
  });

  describe('when the caller must act', () => {
    it.each(['unlock.archive-not-found', 'unlock.forbidden', 'unlock.credentials-rejected'] as const)(
      'answers %s to the call and leaves the state as it was',
      async (code) => {
        const setup = await setUp();
        const refusing = new OddSource(() => Promise.reject(new UnlockError(code, 'no')));
        await expect(setup.unlock.start(request(refusing))).rejects.toMatchObject({ code });
        expect(setup.states).toEqual([]);
        expect(setup.unlock.status().state).toBe('idle');
      },
    );

    it('is ready without an archive while the images of the last one are there', async () => {
      const setup = await setUp();
      await run(setup);
      expect(await setup.unlock.start(request(new InMemoryArchiveSource(undefined)))).toBe('ready');
    });

    it('is not ready without an archive when an image is gone', async () => {
      const setup = await setUp();
      await run(setup);
      await setup.runtime.assign([{ reference: references[0]!, imageId: null }], NEVER);
      await expect(setup.unlock.start(request(new InMemoryArchiveSource(undefined)))).rejects.toMatchObject({
        code: 'unlock.archive-not-found',
      });
    });
  });

  describe('when something goes wrong', () => {
    const failing = async (
      code: UnlockErrorCode,
      wish: UnlockRequest,
      options: Parameters<typeof setUp>[0] = {},
    ): Promise<Setup> => {
      const setup = await setUp(options);
      expect(await run(setup, wish)).toBe('error');
      expect(setup.unlock.status()).toMatchObject({ error: code, progress: null });
      expect(setup.unlock.status().detail).not.toBe('');
      return setup;
    };

    it('reports an API that cannot be reached', async () => {
      const unreachable = new UnlockError('unlock.api-unreachable', 'The Admin API does not answer.');
      await failing('unlock.api-unreachable', request(new OddSource(() => Promise.reject(unreachable))));
    });

    it('reports a session that ended', async () => {
      const ended = new UnlockError('unlock.credentials-rejected', 'Log in again.');
      await failing('unlock.credentials-rejected', { ...request(), authenticate: () => Promise.reject(ended) });
    });

    it('reports what nobody expected without its text, and hands it to the log', async () => {
      const odd = new Error('secret path /x');
      const setup = await failing('unlock.failed', { ...request(), authenticate: () => Promise.reject(odd) });
      expect(setup.unlock.status().detail).not.toContain('secret');
      expect(setup.errors).toEqual([odd]);
    });

    it.each([0, 1, 511, 512, archive.bytes.length >> 1, archive.bytes.length - 1024, archive.bytes.length - 1])(
      'never takes an archive of the first %i bytes for a success',
      async (sizeBytes) => {
        const cut = source(() => inPieces(archive.bytes.subarray(0, sizeBytes), 700));
        const setup = await failing('unlock.archive-truncated', request(cut));
        expect(await setup.runtime.present(references, NEVER)).toEqual([]);
      },
    );

    it('refuses an archive that is longer than it was signed for', async () => {
      const long = source(() => inPieces(Buffer.concat([archive.bytes, Buffer.alloc(1)]), 700));
      await failing('unlock.archive-invalid', request(long));
    });

    it('throws what the archive throws, and loads nothing', async () => {
      const damaged = new UnlockError('unlock.archive-invalid', 'A chunk is damaged.');
      const breaking = source(async function* () {
        yield* inPieces(archive.bytes.subarray(0, 9000), 700);
        throw damaged;
      });
      const setup = await failing('unlock.archive-invalid', request(breaking));
      expect(await setup.runtime.present(references, NEVER)).toEqual([]);
    });

    it('refuses an image that nobody signed for before the engine gets it', async () => {
      const surplus = dockerArchive([
        { reference: 'azaion/detections:1.4.0', content: Buffer.from('a') },
        { reference: 'evil/miner:1', content: Buffer.from('b') },
      ]);
      const signed = { bytes: surplus.bytes, images: surplus.images.slice(0, 1) };
      const setup = await failing('unlock.image-unsigned', request(new InMemoryArchiveSource(signed)));
      expect(await setup.runtime.present(['azaion/detections:1.4.0', 'evil/miner:1'], NEVER)).toEqual([]);
    });

    it('refuses an image with another content than was signed for before the engine gets it', async () => {
      const other = dockerArchive(references.map((reference) => ({ reference, content: Buffer.from('other') })));
      const setup = await failing(
        'unlock.image-mismatch',
        request(new InMemoryArchiveSource({ bytes: other.bytes, images: archive.images })),
      );
      expect(await setup.runtime.present(references, NEVER)).toEqual([]);
    });

    it('refuses an archive that lacks a signed image', async () => {
      const less = dockerArchive([{ reference: references[0]!, content: Buffer.from('x') }]);
      const images = [...less.images, archive.images[1]!];
      await failing('unlock.image-missing', request(new InMemoryArchiveSource({ bytes: less.bytes, images })));
    });

    it('removes an unsigned image that was noticed only in the engine', async () => {
      const surplus = dockerArchive([
        { reference: references[0]!, content: Buffer.from('a') },
        { reference: 'evil/miner:1', content: Buffer.from('b') },
      ]);
      const signed = { bytes: surplus.bytes, images: surplus.images.slice(0, 1) };
      const setup = await failing('unlock.image-unsigned', request(new InMemoryArchiveSource(signed)), {
        trusting: true,
      });
      expect(await setup.runtime.present(['evil/miner:1'], NEVER)).toEqual([]);
    });

    it('removes an image with another id that was noticed only in the engine', async () => {
      const other = dockerArchive([{ reference: references[0]!, content: Buffer.from('other') }]);
      const setup = await failing(
        'unlock.image-mismatch',
        request(new InMemoryArchiveSource({ bytes: other.bytes, images: archive.images.slice(0, 1) })),
        { trusting: true },
      );
      expect(await setup.runtime.present(references, NEVER)).toEqual([]);
      expect(setup.unlock.status().images).toEqual([expect.objectContaining({ present: false })]);
    });

    it('notices an engine that reports success and has nothing', async () => {
      const lying = new OddRuntime({
        load: async (bytes) => {
          for await (const piece of bytes) expect(piece.length).toBeGreaterThan(0);
          return archive.images.map(({ reference, configDigest }) => ({ reference, imageId: configDigest }));
        },
      });
      await failing('unlock.engine-failed', request(), { runtime: lying });
    });

    it('reports an engine that does not answer in the state, not to the caller', async () => {
      const down = (): Promise<never> => Promise.reject(new UnlockError('unlock.engine-unreachable', 'down'));
      await failing('unlock.engine-unreachable', request(), { runtime: new OddRuntime({ present: down, load: down }) });
    });

    it('gives up on an engine that takes nothing', async () => {
      const hanging = new OddRuntime({
        load: async (bytes, signal) => {
          await bytes[Symbol.asyncIterator]().next();
          return whenAborted(signal);
        },
      });
      await failing('unlock.engine-stalled', request(), { runtime: hanging, limits: { ...PATIENT, engine: 20 } });
    });

    it('gives up on an engine that took everything and never ends', async () => {
      const hanging = new OddRuntime({
        load: async (bytes, signal) => {
          for await (const piece of bytes) expect(piece.length).toBeGreaterThan(0);
          return whenAborted(signal);
        },
      });
      await failing('unlock.engine-stalled', request(), { runtime: hanging, limits: { ...PATIENT, 'engine-end': 20 } });
    });

    it('gives up on an engine that does not say what it has, and lets the next caller try', async () => {
      let hangs = true;
      const engine = new InMemoryImageRuntime();
      const hanging = new OddRuntime({
        present: (wanted, signal) => (hangs ? new Promise(() => undefined) : engine.present(wanted, signal)),
        load: (bytes, signal) => engine.load(bytes, signal),
      });
      const limits = { ...PATIENT, engine: 20 };
      const setup = await failing('unlock.engine-stalled', request(), { runtime: hanging, limits });
      hangs = false;
      expect(await run(setup)).toBe('ready');
    });

    it('gives up on an engine that loads and then does not say what it has', async () => {
      let asked = 0;
      const hanging = new OddRuntime({
        present: () => ((asked += 1) === 1 ? Promise.resolve([]) : new Promise(() => undefined)),
      });
      await failing('unlock.engine-stalled', request(), { runtime: hanging, limits: { ...PATIENT, engine: 20 } });
    });

    it('gives up on an engine that does not remove what nobody signed for', async () => {
      const surplus = dockerArchive([
        { reference: references[0]!, content: Buffer.from('a') },
        { reference: 'evil/miner:1', content: Buffer.from('b') },
      ]);
      const signed = { bytes: surplus.bytes, images: surplus.images.slice(0, 1) };
      await failing('unlock.engine-stalled', request(new InMemoryArchiveSource(signed)), {
        trusting: true,
        runtime: new OddRuntime({ assign: () => new Promise(() => undefined) }),
        limits: { ...PATIENT, engine: 20 },
      });
    });

    it('gives up on an archive that stops coming, even when it ignores being told so', async () => {
      const hanging = source(async function* () {
        yield* inPieces(archive.bytes.subarray(0, 5000), 700);
        await new Promise(() => undefined);
      });
      await failing('unlock.archive-stalled', request(hanging), { limits: { ...PATIENT, archive: 20 } });
    });

    it('starts afresh after an error', async () => {
      const setup = await failing('unlock.archive-truncated', request(source(() => inPieces(Buffer.alloc(0), 1))));
      expect(await run(setup)).toBe('ready');
      expect(setup.unlock.status()).toMatchObject({ error: null, detail: null });
    });
  });

  describe('cancel', () => {
    it('is refused when nothing runs', async () => {
      const { unlock } = await setUp();
      expect(() => unlock.cancel()).toThrow(UnlockError);
    });

    it.each(['authenticating', 'downloading_key', 'decrypting', 'loading_images'] as const)(
      'ends a run in %s and leaves nothing loaded',
      async (state) => {
        const setup = await setUp({ trusting: true });
        setup.unlock.subscribe(() => {
          if (setup.unlock.status().state === state) setup.unlock.cancel();
        });
        expect(await run(setup)).toBe('error');
        expect(setup.unlock.status().error).toBe('unlock.cancelled');
        expect(setup.states.at(-2)).toBe(state);
        expect(await setup.runtime.present(references, NEVER)).toEqual([]);
        expect(() => setup.unlock.cancel()).toThrow(UnlockError);
      },
    );
  });

  it('cancels a run that is about to start, while the engine or the archive hangs', async () => {
    const hangs = (): Promise<never> => new Promise(() => undefined);
    for (const [runtime, archives] of [
      [new OddRuntime({ present: hangs }), new InMemoryArchiveSource(archive)],
      [new InMemoryImageRuntime(), new OddSource(hangs)],
    ] as const) {
      const setup = await setUp({ runtime });
      const started = setup.unlock.start(request(archives));
      await new Promise(setImmediate);
      setup.unlock.cancel();
      expect(await started).toBe('authenticating');
      await setup.unlock.settled();
      expect(setup.unlock.status()).toMatchObject({ state: 'error', error: 'unlock.cancelled' });
      expect(() => setup.unlock.cancel()).toThrow(UnlockError);
    }
  });

  it.each(['ready', 'refused'])('has nothing to cancel after a start that was answered: %s', async (answer) => {
    const runtime = new InMemoryImageRuntime();
    if (answer === 'ready') await runtime.load(inPieces(archive.bytes, 1000), NEVER);
    const setup = await setUp({ runtime });
    await setup.unlock
      .start(request(new InMemoryArchiveSource(answer === 'ready' ? archive : undefined)))
      .catch(() => undefined);
    expect(() => setup.unlock.cancel()).toThrow(UnlockError);
  });

  describe('after a restart', () => {
    it.each(UNLOCK_STATES.filter(isRunning))('reports a run that was cut off in %s', async (state) => {
      const setup = await setUp({ record: { state, error: null, detail: null, images: archive.images } });
      expect(setup.unlock.status()).toMatchObject({ state: 'error', error: 'unlock.interrupted' });
      expect(setup.records.saved.at(-1)).toMatchObject({ state: 'error', error: 'unlock.interrupted' });
      expect(await run(setup)).toBe('ready');
    });

    it.each(UNLOCK_STATES.filter((state) => !isRunning(state)))('takes up %s as it was', async (state) => {
      const record = { state, error: state === 'error' ? 'unlock.no-space' : null, detail: null, images: [] };
      const setup = await setUp({ record });
      expect(setup.unlock.status()).toMatchObject({ state, error: record.error });
    });
  });

  it('ends a run when the process stops, and starts none from then on', async () => {
    const setup = await setUp();
    await setup.unlock.start({ ...request(), authenticate: () => new Promise(() => undefined) });
    await setup.unlock.stop();
    expect(setup.unlock.status()).toMatchObject({ state: 'error', error: 'unlock.interrupted' });
    await expect(setup.unlock.start(request())).rejects.toMatchObject({ code: 'unlock.interrupted' });
  });

  it('goes on when its record cannot be saved, and says so', async () => {
    const errors: unknown[] = [];
    const unlock = await UnlockImages.restore({
      runtime: () => Promise.resolve(new InMemoryImageRuntime()),
      records: new FullRecords(),
      inspector: new InMemoryArchiveInspector(),
      clock: new ManualClock(0),
      limits: limits(),
      onError: (error) => errors.push(error),
    });
    await unlock.start(request());
    await unlock.settled();
    expect(unlock.status().state).toBe('ready');
    expect(errors).toContain(DISK_FULL);
  });
});

/** The same one after the other counts once. */
function distinct<T>(values: readonly T[]): T[] {
  return values.filter((value, index) => value !== values[index - 1]);
}

function neverRead(): AsyncIterable<Uint8Array> {
  throw new Error('nobody should open the archive');
}

function whenAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => {
      reject(signal.reason as Error);
    });
  });
}
