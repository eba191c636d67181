import { randomBytes } from 'node:crypto';

import type { StatementImage } from '@azaion/crypto';
import { type ByteRange, ManualClock } from '@azaion/kernel';

import { orAborted } from './abortable.js';
import { UnlockError, type UnlockErrorCode } from './errors.js';
import type { ExpectedImage } from './expected-image.js';
import type { ArchiveInspector, ArchiveSurvey, RangedArchive } from './ports/archive-inspector.js';
import { ArchiveSource, type OpenArchive } from './ports/archive-source.js';
import { FlightGate } from './ports/flight-gate.js';
import { type EngineImage, type ImageAssignment, ImageRuntime } from './ports/image-runtime.js';
import { ServiceStack } from './ports/service-stack.js';
import { NOTHING_RECORDED, type UnlockRecord } from './ports/unlock-records.js';
import {
  archiveEnd,
  dockerArchive,
  InMemoryArchiveInspector,
  InMemoryArchiveSource,
  InMemoryImageRuntime,
  InMemoryUnlockRecords,
  inPieces,
  openInMemory,
  readDockerArchive,
  type TestArchive,
} from './testing/index.js';
import { UnlockImages } from './unlock-images.js';
import type { UnlockLimits } from './unlock-limits.js';
import type { UnlockRequest } from './unlock-request.js';
import { isRunning, UNLOCK_STATES, type UnlockState } from './unlock-state.js';

/** What every ending says to people. */
const SENTENCE = /^[A-Z].{15,}\.$/;
/** What ports of these tests say. */
const TOLD = 'It is as these tests say.';
const DISK_FULL = new Error('disk full');
const NEVER = new AbortController().signal;
const SERVICE_RETRY_MS = { first: 60_000, longest: 240_000 };
const PATIENT = { archive: 60_000, engine: 60_000, 'engine-end': 60_000 };
const archiveContent = randomBytes(20_000);
const archive = dockerArchive([
  { reference: 'azaion/detections:1.4.0', content: archiveContent },
  { reference: 'azaion/flights:1.4.0', content: randomBytes(10_000) },
]);
const references = archive.images.map(({ reference }) => reference);

/** What the runs of a test ended with. */
const details = new Set<string>();

afterEach(() => {
  const told = [...details];
  details.clear();
  for (const detail of told) expect(detail).toMatch(SENTENCE);
});

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
    clock?: ManualClock;
    services?: ServiceStack;
    inspector?: ArchiveInspector;
    leastPartBytes?: number;
  } = {},
): Promise<Setup> {
  const runtime = options.runtime ?? new InMemoryImageRuntime();
  const record: UnlockRecord = { ...NOTHING_RECORDED, ...options.record };
  const records = new InMemoryUnlockRecords(options.record === undefined ? undefined : record);
  const errors: unknown[] = [];
  const unlock = await UnlockImages.restore({
    runtime: () => Promise.resolve(runtime),
    records,
    inspector:
      options.inspector ?? (options.trusting === true ? new TrustingInspector() : new InMemoryArchiveInspector()),
    gate: options.gate,
    services: options.services,
    clock: options.clock ?? new ManualClock(0),
    limits: limits(options.limits, options.leastPartBytes),
    onError: (error) => errors.push(error),
  });
  const states: UnlockState[] = [];
  unlock.subscribe(() => {
    const { state, detail } = unlock.status();
    states.push(state);
    if (detail !== null) details.add(detail);
  });
  return { unlock, runtime, records, errors, states };
}

function limits(stall = PATIENT, leastPartBytes = Infinity): UnlockLimits {
  return {
    leastPartBytes,
    stall,
    gatePollMs: 1,
    healthTimeoutMs: 1000,
    linkRetryMs: { first: 1, longest: 4 },
    serviceRetryMs: SERVICE_RETRY_MS,
  };
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
    Promise.resolve({ images: archive.images, identity: 'odd', version: null, open: () => Promise.resolve(open) }),
  );
}

function found(images: readonly ExpectedImage[], open: OpenArchive): ArchiveSource {
  return new OddSource(() =>
    Promise.resolve({ images, identity: 'odd', version: null, open: () => Promise.resolve(open) }),
  );
}

function otherDigests(images: readonly StatementImage[]): readonly StatementImage[] {
  return images.map((image) => ({ ...image, configDigest: `sha256:${'0'.repeat(64)}` }));
}

/** A gate that is opened and closed by hand. */
class ManualFlightGate extends FlightGate {
  private looks = 0;
  private waiting: { readonly looks: number; readonly resolve: () => void } | undefined;

  constructor(public closed: boolean) {
    super();
  }

  override isClosed(): Promise<boolean> {
    this.looks += 1;
    if (this.waiting !== undefined && this.looks >= this.waiting.looks) this.waiting.resolve();
    return Promise.resolve(this.closed);
  }

  /** Resolves when it was looked at so many times. */
  lookedAt(looks: number): Promise<void> {
    return new Promise((resolve) => (this.waiting = { looks, resolve }));
  }
}

/** Services that run from whatever images they are brought up from, and are healthy unless they are said to be sick. */
class InMemoryServices extends ServiceStack {
  running: string[] = [];
  sick: readonly string[] = [];
  /** Every set that they were brought up from. */
  readonly ups: (readonly string[])[] = [];
  /** What happens between the start of new services and their first health check. */
  onUp: () => unknown = () => undefined;

  override async up(images: readonly EngineImage[], _: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    this.running = images.map(({ imageId }) => imageId);
    this.ups.push(this.running);
    await orAborted(Promise.resolve(this.onUp()), signal);
    if (this.running.some((id) => this.sick.includes(id))) throw new UnlockError(this.sickness, TOLD);
  }

  sickness: UnlockErrorCode = 'unlock.services-unhealthy';
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

  override layers(signal: AbortSignal): Promise<ReadonlySet<string> | undefined> {
    return (this.odd.layers ?? this.engine.layers.bind(this.engine))(signal);
  }
}

describe('UnlockImages (F4)', () => {
  it('passes through every state in order and ends ready, with the signed images in the engine', async () => {
    const setup = await setUp();
    expect(await setup.unlock.start(request())).toEqual({ state: 'authenticating', begun: true });
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
      retry: null,
      progress: null,
      images: archive.images.map(({ reference, configDigest }) => ({ reference, configDigest, present: true })),
      loaded: null,
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
      archive: { identity: expect.any(String) as string, version: null },
      images: archive.images,
      loaded: {
        identity: expect.any(String) as string,
        version: null,
        images: archive.images.map(({ reference, configDigest }) => ({ reference, imageId: configDigest })),
      },
      lastGood: null,
      servicesDue: false,
      rollbackDue: false,
      refused: null,
      retry: null,
    });
  });

  it.each(['idle', 'ready', 'error'] as const)('is ready at once from %s when the images are there', async (state) => {
    const runtime = new InMemoryImageRuntime();
    await runtime.load(inPieces(archive.bytes, 1000), NEVER);
    const setup = await setUp({ runtime, record: { state, error: null, detail: null, images: [] } });
    expect(await setup.unlock.start(request(source(() => neverRead())))).toEqual({ state: 'ready', begun: false });
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
    expect(await Promise.all(answers)).toEqual([
      { state: 'authenticating', begun: true },
      { state: 'authenticating', begun: false },
      { state: 'authenticating', begun: false },
    ]);
    expect(setup.unlock.running).toBe(true);
    open();
    await setup.unlock.settled();
    expect(setup.unlock.running).toBe(false);
    expect(distinct(setup.states).filter((state) => state === 'authenticating')).toHaveLength(1);
    expect(setup.unlock.status().state).toBe('ready');
  });

  it('lets a second caller try when the first one was refused', async () => {
    const setup = await setUp();
    const refused = setup.unlock.start(request(new InMemoryArchiveSource(undefined)));
    const accepted = setup.unlock.start(request());
    await expect(refused).rejects.toMatchObject({ code: 'unlock.archive-not-found' });
    expect(await accepted).toEqual({ state: 'authenticating', begun: true });
    await setup.unlock.settled();
    expect(setup.unlock.status().state).toBe('ready');
  });

  describe('when the caller must act', () => {
    it.each(['unlock.archive-not-found', 'unlock.forbidden', 'unlock.credentials-rejected'] as const)(
      'answers %s to the call and leaves the state as it was',
      async (code) => {
        const setup = await setUp();
        const refusing = new OddSource(() => Promise.reject(new UnlockError(code, TOLD)));
        await expect(setup.unlock.start(request(refusing))).rejects.toMatchObject({ code });
        expect(setup.states).toEqual([]);
        expect(setup.unlock.status().state).toBe('idle');
      },
    );

    it.each(['unlock.forbidden', 'unlock.credentials-rejected'] as const)(
      'answers %s to the call although the images are there',
      async (code) => {
        const setup = await setUp();
        await run(setup);
        const refusing = new OddSource(() => Promise.reject(new UnlockError(code, TOLD)));
        await expect(setup.unlock.start(request(refusing))).rejects.toMatchObject({ code });
      },
    );

    it('says that there is no archive although the engine does not say what it has, and hands that to the log', async () => {
      const down = new UnlockError('unlock.engine-unreachable', 'The engine does not answer.');
      const engine = new InMemoryImageRuntime();
      let isDown = false;
      const present: ImageRuntime['present'] = (wanted, signal) =>
        isDown ? Promise.reject(down) : engine.present(wanted, signal);
      const setup = await setUp({ runtime: new OddRuntime({ present }, engine) });
      await run(setup);
      isDown = true;
      await expect(setup.unlock.start(request(new InMemoryArchiveSource(undefined)))).rejects.toMatchObject({
        code: 'unlock.archive-not-found',
      });
      expect(setup.errors).toEqual([down]);
    });

    it('is ready without an archive while the images of the last one are there', async () => {
      const setup = await setUp();
      await run(setup);
      expect(await setup.unlock.start(request(new InMemoryArchiveSource(undefined)))).toEqual({
        state: 'ready',
        begun: false,
      });
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
      return setup;
    };

    it('reports an API that cannot be reached', async () => {
      const unreachable = new UnlockError('unlock.api-unreachable', 'The Admin API does not answer.');
      await failing('unlock.api-unreachable', request(new OddSource(() => Promise.reject(unreachable))));
    });

    it('reports a session that ended', async () => {
      const ended = new UnlockError('unlock.credentials-rejected', 'Somebody must log in again.');
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
      const down = (): Promise<never> => Promise.reject(new UnlockError('unlock.engine-unreachable', TOLD));
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
      expect(await started).toEqual({ state: 'authenticating', begun: true });
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
      const error = state === 'error' ? 'unlock.no-space' : null;
      for (const detail of [null, 'The disk is full.']) {
        const setup = await setUp({ record: { state, error, detail, images: [] } });
        expect(setup.unlock.status()).toMatchObject({ state, error, detail: error === null ? null : (detail ?? '') });
      }
    });
  });

  describe('layers that the engine has (F4)', () => {
    const next = dockerArchive([
      { reference: references[0]!, content: archiveContent },
      { reference: references[1]!, content: randomBytes(5000) },
    ]);

    it('are neither read nor handed over, and the report says how much that saved', async () => {
      const setup = await setUp();
      await run(setup);
      const ranges: (ByteRange | undefined)[] = [];
      const opened = openInMemory(next.bytes);
      const watched: OpenArchive = {
        ...opened,
        read: (signal, range) => {
          ranges.push(range);
          return opened.read(signal, range);
        },
      };
      expect(await run(setup, request(found(next.images, watched)))).toBe('ready');
      const { layer } = readDockerArchive(next.bytes)![0]!;
      const reusedBytes = layer!.end - layer!.start;
      expect(reusedBytes).toBeGreaterThan(20_000);
      expect(setup.unlock.status().report).toMatchObject({
        archiveBytes: next.bytes.length,
        reusedBytes,
        loadedBytes: next.bytes.length - reusedBytes,
      });
      // The first read is the look at the archive, which this inspector takes at the whole.
      expect(ranges.slice(1)).toEqual([
        ...(layer!.start === 0 ? [] : [{ start: 0, end: layer!.start }]),
        { start: layer!.end, end: next.bytes.length },
      ]);
      expect(setup.errors).toEqual([]);
    });

    it('are handed over when the archive uses them in another place as well, where the engine does not have them', async () => {
      const twice = new (class extends InMemoryArchiveInspector {
        override async survey(ranged: RangedArchive): Promise<ArchiveSurvey | undefined> {
          const survey = await super.survey(ranged);
          const elsewhere = `sha256:${'e'.repeat(64)}`;
          return (
            survey && {
              ...survey,
              layers: survey.layers.map(({ chainIds, range }) => ({ chainIds: [...chainIds, elsewhere], range })),
            }
          );
        }
      })();
      const setup = await setUp({ inspector: twice });
      await run(setup);
      expect(await run(setup, request(new InMemoryArchiveSource(next)))).toBe('ready');
      expect(setup.unlock.status().report).toMatchObject({ reusedBytes: 0 });
    });

    it('that have gone since the engine was asked cost a second, whole load', async () => {
      const engine = new InMemoryImageRuntime();
      const forgetful = new OddRuntime(
        { layers: () => Promise.resolve(new Set(readDockerArchive(archive.bytes)!.map(({ chainId }) => chainId))) },
        engine,
      );
      const setup = await setUp({ runtime: forgetful });
      expect(await run(setup)).toBe('ready');
      expect(setup.unlock.status().report).toMatchObject({ reusedBytes: 0, loadedBytes: archive.bytes.length });
      expect(setup.errors).toEqual([expect.objectContaining({ code: 'unlock.archive-invalid' })]);
    });

    it.each(['unlock.no-space', 'unlock.engine-unreachable'] as const)(
      'are no reason to load again when the engine ends with %s',
      async (code) => {
        let loads = 0;
        const full = new OddRuntime({
          layers: () => Promise.resolve(new Set(readDockerArchive(archive.bytes)!.map(({ chainId }) => chainId))),
          load: () => {
            loads += 1;
            return Promise.reject(new UnlockError(code, TOLD));
          },
        });
        const setup = await setUp({ runtime: full });
        expect(await run(setup)).toBe('error');
        expect([loads, setup.unlock.status().error]).toEqual([1, code]);
      },
    );
  });

  describe('a large archive (F4)', () => {
    const large = dockerArchive(
      ['a', 'b', 'c', 'd'].map((name) => ({ reference: `azaion/${name}:1`, content: randomBytes(20_000) })),
    );
    const names = large.images.map(({ reference }) => reference);
    const partNames = Array.from({ length: 16 }, (_, index) => `azaion-unlock-part:${index + 1}`);
    const wish = request(new InMemoryArchiveSource(large));
    const inParts = (options: Parameters<typeof setUp>[0] = {}): Promise<Setup> =>
      setUp({ leastPartBytes: 10_000, ...options });
    const isLoaded = async ({ runtime }: Setup): Promise<boolean> =>
      (await runtime.present(names, NEVER)).length === names.length;
    const partsLeft = async ({ runtime }: Setup): Promise<number> => (await runtime.present(partNames, NEVER)).length;

    /** An engine that works at what it has got until it is told that it may end. */
    class WorkingEngine {
      readonly engine = new InMemoryImageRuntime();
      /** Which load began, had all its bytes, and ended. */
      readonly log: string[] = [];
      /** Called when a load has all its bytes. @returns When it is done with them. */
      working: (load: number) => unknown = () => undefined;
      private loads = 0;
      readonly runtime = new OddRuntime(
        {
          load: async (bytes, signal) => {
            const load = (this.loads += 1);
            this.log.push(`${load} begins`);
            const images = await this.engine.load(this.noting(bytes, load), signal);
            await this.working(load);
            this.log.push(`${load} ends`);
            return images;
          },
        },
        this.engine,
      );

      private async *noting(bytes: AsyncIterable<Uint8Array>, load: number): AsyncGenerator<Uint8Array> {
        yield* bytes;
        this.log.push(`${load} has all`);
      }
    }

    it('goes over in parts: the engine gets the next while it works at one, and its end when that one is done', async () => {
      const engine = new WorkingEngine();
      // Done some time after the next one has begun: it would wait for ever if that waited for it.
      engine.working = async (load) => {
        while (load < 4 && !engine.log.includes(`${load + 1} begins`)) await new Promise(setImmediate);
        for (let turn = 0; turn < 100; turn++) await new Promise(setImmediate);
      };
      const setup = await inParts({ runtime: engine.runtime });
      expect(await run(setup, wish)).toBe('ready');
      const without = (event: string): string[] => engine.log.filter((entry) => !entry.endsWith(event));
      expect(without('has all')).toEqual([
        ...['1 begins', '2 begins', '1 ends', '3 begins', '2 ends', '4 begins', '3 ends', '4 ends'],
      ]);
      expect(without('begins')).toEqual([1, 2, 3, 4].flatMap((load) => [`${load} has all`, `${load} ends`]));
      expect([await isLoaded(setup), await partsLeft(setup)]).toEqual([true, 0]);
      const { report } = setup.unlock.status();
      expect(report).toMatchObject({ archiveBytes: large.bytes.length, reusedBytes: 0 });
      expect(report!.loadedBytes).toBeGreaterThanOrEqual(large.bytes.length);
      expect(setup.errors).toEqual([]);
    });

    it('is looked at as a whole before the engine gets a part of it', async () => {
      const engine = new WorkingEngine();
      const setup = await inParts({ runtime: engine.runtime });
      const images = large.images.slice(1);
      expect(await run(setup, request(new InMemoryArchiveSource({ bytes: large.bytes, images })))).toBe('error');
      expect([setup.unlock.status().error, engine.log]).toEqual(['unlock.image-unsigned', []]);
    });

    it('counts every byte of every part', async () => {
      const setup = await inParts();
      const done: (readonly [number, number | null])[] = [];
      setup.unlock.subscribe(() => {
        const { progress } = setup.unlock.status();
        if (progress?.phase === 'verifying') done.push([progress.bytesDone, progress.bytesTotal]);
      });
      await run(setup, wish);
      for (const [bytesDone, bytesTotal] of done) expect(bytesDone).toBe(bytesTotal);
    });

    it.each([1, 2, 3])('follows as a whole when the engine refuses part %i', async (refused) => {
      const engine = new WorkingEngine();
      const setup = await inParts({ runtime: engine.runtime });
      engine.working = (load) => {
        if (load === refused) throw new UnlockError('unlock.engine-failed', TOLD);
      };
      expect(await run(setup, wish)).toBe('ready');
      expect([await isLoaded(setup), await partsLeft(setup)]).toEqual([true, 0]);
      expect(setup.unlock.status().report).toMatchObject({ loadedBytes: large.bytes.length });
      expect(setup.errors).toEqual([expect.objectContaining({ code: 'unlock.engine-failed' })]);
    });

    it('leaves no part behind when the engine is full, and does not load again', async () => {
      const engine = new WorkingEngine();
      const setup = await inParts({ runtime: engine.runtime });
      engine.working = (load) => {
        if (load === 2) throw new UnlockError('unlock.no-space', TOLD);
      };
      expect(await run(setup, wish)).toBe('error');
      expect([setup.unlock.status().error, await partsLeft(setup)]).toEqual(['unlock.no-space', 0]);
      expect(engine.log).not.toContain('4 begins');
    });

    it('leaves no part behind when it is cancelled', async () => {
      const engine = new WorkingEngine();
      const setup = await inParts({ runtime: engine.runtime });
      engine.working = (load) => {
        if (load === 2) setup.unlock.cancel();
      };
      expect(await run(setup, wish)).toBe('error');
      expect([setup.unlock.status().error, await partsLeft(setup)]).toEqual(['unlock.cancelled', 0]);
    });

    it('gives up on an engine that never ends a part', async () => {
      const engine = new WorkingEngine();
      engine.working = (load) => (load === 1 ? new Promise(() => undefined) : undefined);
      const load: ImageRuntime['load'] = (bytes, signal) => orAborted(engine.runtime.load(bytes, signal), signal);
      const runtime = new OddRuntime({ load }, engine.engine);
      const setup = await inParts({ runtime, limits: { ...PATIENT, 'engine-end': 20 } });
      expect(await run(setup, wish)).toBe('error');
      expect(setup.unlock.status().error).toBe('unlock.engine-stalled');
    });

    it('goes on when the engine ends a part before it has all of it', async () => {
      const engine = new InMemoryImageRuntime();
      let loads = 0;
      const load: ImageRuntime['load'] = (bytes, signal) =>
        (loads += 1) === 1 ? Promise.resolve([]) : engine.load(bytes, signal);
      const setup = await inParts({ runtime: new OddRuntime({ load }, engine) });
      expect(await run(setup, wish)).toBe('ready');
    });

    it('takes away what a killed process has left, and uses the layers in it', async () => {
      const runtime = new InMemoryImageRuntime();
      const [first] = readDockerArchive(large.bytes)!;
      const part = [large.bytes.subarray(first!.layer!.start, first!.layer!.end)];
      part.push(archiveEnd({ ...first!, reference: partNames[0]! }));
      await runtime.load(inPieces(Buffer.concat(part), 1000), NEVER);
      const setup = await inParts({ runtime });
      expect(await partsLeft(setup)).toBe(1);
      expect(await run(setup, wish)).toBe('ready');
      expect([await isLoaded(setup), await partsLeft(setup)]).toEqual([true, 0]);
      expect(setup.unlock.status().report!.reusedBytes).toBe(first!.layer!.end - first!.layer!.start);
      expect(setup.errors).toEqual([]);
    });

    it('says so when the parts cannot be taken away, and is ready all the same', async () => {
      const stuck = new UnlockError('unlock.engine-failed', TOLD);
      const setup = await inParts({ runtime: new OddRuntime({ assign: () => Promise.reject(stuck) }) });
      expect(await run(setup, wish)).toBe('ready');
      expect(setup.errors).toEqual([stuck]);
    });

    it('goes over as a whole to an engine that takes nothing less', async () => {
      const engine = new WorkingEngine();
      const runtime = new OddRuntime({
        layers: () => Promise.resolve(undefined),
        load: (bytes, signal) => engine.runtime.load(bytes, signal),
        present: (wanted, signal) => engine.runtime.present(wanted, signal),
      });
      const setup = await inParts({ runtime });
      expect(await run(setup, wish)).toBe('ready');
      expect(engine.log).toEqual(['1 begins', '1 has all', '1 ends']);
    });
  });

  it.each([
    ['an image that nobody signed for', 'unlock.image-unsigned', archive.images.slice(0, 1)],
    ['another image than was signed for', 'unlock.image-mismatch', otherDigests(archive.images)],
    ['too few images', 'unlock.image-missing', [...archive.images, { ...archive.images[0]!, reference: 'azaion/c:1' }]],
  ] as const)('refuses an archive with %s before the engine gets a byte of it', async (_, code, images) => {
    let given = 0;
    const runtime = new OddRuntime({
      load: () => {
        given += 1;
        return Promise.resolve([]);
      },
    });
    const setup = await setUp({ runtime });
    expect(await run(setup, request(new InMemoryArchiveSource({ bytes: archive.bytes, images })))).toBe('error');
    expect([given, setup.unlock.status().error]).toEqual([0, code]);
  });

  describe('an archive that names no digests (older format)', () => {
    const tagOnly = (tag: string): { bytes: Buffer; images: ExpectedImage[] } => {
      const made = dockerArchive([{ reference: `azaion/detections:${tag}`, content: randomBytes(2000) }]);
      return { bytes: made.bytes, images: made.images.map((image) => ({ ...image, configDigest: null })) };
    };

    it('is there when its tags name a version', async () => {
      const legacy = tagOnly('1.4.0');
      const runtime = new InMemoryImageRuntime();
      await runtime.load(inPieces(legacy.bytes, 1000), NEVER);
      const setup = await setUp({ runtime });
      expect(await setup.unlock.start(request(new InMemoryArchiveSource(legacy)))).toEqual({
        state: 'ready',
        begun: false,
      });
    });

    it('is not there by the tag "latest" alone, and is once this very archive was loaded', async () => {
      const legacy = tagOnly('latest');
      const runtime = new InMemoryImageRuntime();
      await runtime.load(inPieces(tagOnly('latest').bytes, 1000), NEVER);
      const setup = await setUp({ runtime });
      expect(await run(setup, request(new InMemoryArchiveSource(legacy)))).toBe('ready');
      expect(distinct(setup.states)).toContain('loading_images');
      expect(await setup.unlock.start(request(new InMemoryArchiveSource(legacy)))).toEqual({
        state: 'ready',
        begun: false,
      });
      // Another archive under the same tag, and the same archive after somebody moved the tag, are not there.
      expect(await setup.unlock.start(request(new InMemoryArchiveSource(tagOnly('latest'))))).toEqual({
        state: 'authenticating',
        begun: true,
      });
      await setup.unlock.settled();
      expect(await setup.unlock.start(request(new InMemoryArchiveSource(legacy)))).toEqual({
        state: 'authenticating',
        begun: true,
      });
      await setup.unlock.settled();
    });

    it('keeps that proof over a restart', async () => {
      const legacy = tagOnly('latest');
      const setup = await setUp();
      await run(setup, request(new InMemoryArchiveSource(legacy)));
      const again = await setUp({ runtime: setup.runtime, record: setup.records.saved.at(-1)! });
      expect(await again.unlock.start(request(new InMemoryArchiveSource(legacy)))).toEqual({
        state: 'ready',
        begun: false,
      });
    });
  });

  it('puts the earlier image back under its tag when the engine took a wrong one', async () => {
    const runtime = new InMemoryImageRuntime();
    const earlier = dockerArchive([{ reference: references[0]!, content: Buffer.from('earlier') }]);
    await runtime.load(inPieces(earlier.bytes, 1000), NEVER);
    const wrong = dockerArchive([{ reference: references[0]!, content: Buffer.from('wrong') }]);
    const setup = await setUp({ runtime, trusting: true });
    await run(setup, request(new InMemoryArchiveSource({ bytes: wrong.bytes, images: archive.images.slice(0, 1) })));
    expect(setup.unlock.status()).toMatchObject({ state: 'error', error: 'unlock.image-mismatch' });
    expect(await runtime.present(references, NEVER)).toEqual([
      { reference: references[0], imageId: earlier.images[0]!.configDigest },
    ]);
  });

  describe('while the flight gate is closed', () => {
    it('hands nothing to the engine, says what it waits for, and goes on when it opens', async () => {
      const gate = new ManualFlightGate(true);
      let loads = 0;
      const engine = new InMemoryImageRuntime();
      const runtime = new OddRuntime({
        load: (bytes, signal) => {
          loads += 1;
          return engine.load(bytes, signal);
        },
        present: (wanted, signal) => engine.present(wanted, signal),
      });
      const setup = await setUp({ gate, runtime, limits: { ...PATIENT, archive: 20, engine: 20 } });
      await setup.unlock.start(request());
      await gate.lookedAt(100); // far beyond the time limits of a stall
      expect(setup.unlock.status()).toMatchObject({
        state: 'decrypting',
        progress: { phase: 'waiting_for_flight_gate', bytesDone: 0, stalledSeconds: 0 },
      });
      expect(loads).toBe(0);
      gate.closed = false;
      await setup.unlock.settled();
      expect(setup.unlock.status().state).toBe('ready');
    });

    it('can be cancelled', async () => {
      const gate = new ManualFlightGate(true);
      const setup = await setUp({ gate });
      await setup.unlock.start(request());
      await gate.lookedAt(3);
      setup.unlock.cancel();
      await setup.unlock.settled();
      expect(setup.unlock.status()).toMatchObject({ state: 'error', error: 'unlock.cancelled' });
    });

    it('pauses a load that has begun', async () => {
      const gate = new ManualFlightGate(false);
      const clock = new ManualClock(0);
      let taken = 0;
      const engine = new InMemoryImageRuntime();
      const runtime = new OddRuntime({
        load: (bytes, signal) => engine.load(counted(bytes), signal),
        present: (wanted, signal) => engine.present(wanted, signal),
      });
      async function* counted(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
        for await (const piece of bytes) {
          taken += 1;
          if (taken === 5) {
            gate.closed = true;
            clock.advance(1000); // time for the next look at the gate
          }
          yield piece;
        }
      }
      const setup = await setUp({ gate, runtime, clock, limits: { ...PATIENT, archive: 30, engine: 30 } });
      await setup.unlock.start(request());
      await gate.lookedAt(100); // far beyond the time limits of a stall
      expect(setup.unlock.status()).toMatchObject({
        state: 'loading_images',
        progress: { phase: 'waiting_for_flight_gate' },
      });
      expect(taken).toBe(5);
      gate.closed = false;
      await setup.unlock.settled();
      expect(setup.unlock.status().state).toBe('ready');
    });
  });

  describe('without a link', () => {
    const unreachable = new UnlockError('unlock.api-unreachable', 'The Admin API does not answer.');
    /** Finds the archive after so many failures. */
    const backAfter = (failures: number): ArchiveSource => {
      let left = failures;
      const source = new InMemoryArchiveSource(archive);
      return new OddSource(() => (left-- > 0 ? Promise.reject(unreachable) : source.find()));
    };

    it('waits for it when it is told to, and says so', async () => {
      const setup = await setUp();
      const phases: (string | undefined)[] = [];
      setup.unlock.subscribe(() => phases.push(setup.unlock.status().progress?.phase));
      expect(await run(setup, { ...request(backAfter(5)), waitForLink: true })).toBe('ready');
      expect(phases).toContain('waiting_for_link');
      expect(setup.errors).toEqual([unreachable]); // once, not at every turn
      expect(distinct(setup.states)).toEqual([
        'authenticating',
        'downloading_key',
        'decrypting',
        'loading_images',
        'ready',
      ]);
    });

    it('can be cancelled while it waits', async () => {
      const setup = await setUp();
      setup.unlock.subscribe(() => {
        if (setup.unlock.status().progress?.phase === 'waiting_for_link') setup.unlock.cancel();
      });
      await run(setup, { ...request(backAfter(1000)), waitForLink: true });
      expect(setup.unlock.status()).toMatchObject({ state: 'error', error: 'unlock.cancelled' });
    });

    it('waits for nothing but the link', async () => {
      const setup = await setUp();
      const broken = new UnlockError('unlock.archive-invalid', TOLD);
      const wish = { ...request(new OddSource(() => Promise.reject(broken))), waitForLink: true };
      expect(await run(setup, wish)).toBe('error');
    });

    it('is ready with the newest images that it has seen', async () => {
      const setup = await setUp();
      await run(setup);
      expect(await setup.unlock.start(request(backAfter(1)))).toEqual({ state: 'ready', begun: false });
      await setup.runtime.assign([{ reference: references[0]!, imageId: null }], NEVER);
      expect(await run(setup, request(backAfter(1)))).toBe('error');
      expect(setup.unlock.status().error).toBe('unlock.api-unreachable');
    });
  });

  describe('with services', () => {
    const newer = dockerArchive(references.map((reference) => ({ reference, content: randomBytes(3000) })));
    const idsOf = ({ images }: TestArchive): string[] => images.map(({ configDigest }) => configDigest);
    const kept = references.map((reference) => `${reference}-last-good`);

    it('brings them up from the loaded images before it is ready', async () => {
      const services = new InMemoryServices();
      const setup = await setUp({ services });
      let statesThen: UnlockState[] = [];
      services.onUp = () => (statesThen = [...setup.states]);
      expect(await run(setup)).toBe('ready');
      expect(services.running).toEqual(idsOf(archive));
      expect(statesThen.at(-1)).toBe('loading_images');
      expect(setup.records.saved.at(-1)).toMatchObject({ servicesDue: false });
      expect((await setup.runtime.present(kept, NEVER)).map(({ imageId }) => imageId)).toEqual(idsOf(archive));
    });

    it('goes back to the last good images when they do not become healthy, and keeps these for the next time', async () => {
      const services = new InMemoryServices();
      const setup = await setUp({ services });
      await run(setup);
      services.sick = idsOf(newer);
      const phases: (string | undefined)[] = [];
      setup.unlock.subscribe(() => phases.push(setup.unlock.status().progress?.phase));
      expect(await run(setup, request(new InMemoryArchiveSource(newer)))).toBe('error');
      expect(setup.unlock.status().error).toBe('unlock.services-unhealthy');
      expect(distinct(phases)).toEqual(expect.arrayContaining(['starting_services', 'rolling_back']));
      expect(services.running).toEqual(idsOf(archive));
      for (const names of [references, kept])
        expect((await setup.runtime.present(names, NEVER)).map(({ imageId }) => imageId)).toEqual(idsOf(archive));
      expect(setup.unlock.status().images.map(({ present }) => present)).toEqual([false, false]);
      services.sick = [];
      expect(await run(setup, byPerson(newer))).toBe('ready');
      expect(services.running).toEqual(idsOf(newer));
    });

    it('keeps the tags of the good images alone, not those of images that went', async () => {
      const services = new InMemoryServices();
      const setup = await setUp({ services });
      await run(setup);
      const fewer = dockerArchive([{ reference: references[0]!, content: randomBytes(3000) }]);
      expect(await run(setup, request(new InMemoryArchiveSource(fewer)))).toBe('ready');
      expect(await setup.runtime.present(kept, NEVER)).toEqual([{ reference: kept[0], imageId: idsOf(fewer)[0] }]);
    });

    /** A wish of the device itself; so are those of {@link request}. */
    const byPerson = (wanted: TestArchive): UnlockRequest => ({
      ...request(new InMemoryArchiveSource(wanted)),
      byPerson: true,
    });
    const of = (wanted: TestArchive): UnlockRequest => request(new InMemoryArchiveSource(wanted));
    const noLink = request(new OddSource(() => Promise.reject(new UnlockError('unlock.api-unreachable', TOLD))));
    /** What the next process finds. */
    const restarted = (setup: Setup, services: ServiceStack, more: Parameters<typeof setUp>[0] = {}): Promise<Setup> =>
      setUp({ services, runtime: setup.runtime, record: setup.records.saved.at(-1)!, ...more });
    const other = dockerArchive(references.map((reference) => ({ reference, content: randomBytes(2000) })));

    describe('that were not healthy with the new images', () => {
      /** A device whose good images run again. */
      const rolledBack = async (
        sickness: UnlockErrorCode = 'unlock.services-unhealthy',
      ): Promise<{ services: InMemoryServices; setup: Setup }> => {
        const services = new InMemoryServices();
        const setup = await setUp({ services });
        await run(setup);
        services.sick = idsOf(newer);
        services.sickness = sickness;
        expect(await run(setup, of(newer))).toBe('error');
        services.ups.length = 0;
        return { services, setup };
      };

      it.each(['unlock.services-unhealthy', 'unlock.services-failed'] as const)(
        'says so at once when the device asks for them again, also after a restart (%s)',
        async (sickness) => {
          const { services, setup } = await rolledBack(sickness);
          for (const process of [setup, await restarted(setup, services)]) {
            expect(await process.unlock.start(of(newer))).toEqual({ state: 'error', begun: false });
            expect(process.unlock.status().error).toBe('unlock.services-unhealthy');
            expect(() => process.unlock.cancel()).toThrow('No unlock');
          }
          expect(services.ups).toEqual([]);
        },
      );

      it('does not try them when the link comes back while it waits for another archive', async () => {
        const { services, setup } = await rolledBack();
        const again = await restarted(setup, services);
        let attempts = 0;
        const late = new OddSource(() => {
          attempts += 1;
          if (attempts > 2) return new InMemoryArchiveSource(newer).find();
          return Promise.reject(new UnlockError('unlock.api-unreachable', TOLD));
        });
        expect(await run(again, { ...request(late), waitForLink: true })).toBe('error');
        expect([attempts, again.unlock.status().error, services.ups]).toEqual([3, 'unlock.services-unhealthy', []]);
      });

      it('tries them again when a person asks, after a restart as well', async () => {
        const { services, setup } = await rolledBack();
        const again = await restarted(setup, services);
        services.sick = [];
        expect(await run(again, byPerson(newer))).toBe('ready');
        expect(services.running).toEqual(idsOf(newer));
      });

      it('goes on with another archive, and with the good one without touching the services', async () => {
        const { services, setup } = await rolledBack();
        expect(await setup.unlock.start(of(archive))).toEqual({ state: 'ready', begun: false });
        expect(services.ups).toEqual([]);
        expect(await run(setup, of(other))).toBe('ready');
        expect(services.ups).toEqual([idsOf(other)]);
        expect(setup.records.saved.at(-1)).toMatchObject({ refused: null, servicesDue: false, rollbackDue: false });
      });

      it('does not try the first images again by itself either', async () => {
        const services = new InMemoryServices();
        services.sick = idsOf(archive);
        const setup = await setUp({ services });
        await run(setup);
        expect(await setup.unlock.start(request())).toEqual({ state: 'error', begun: false });
        expect(services.ups).toHaveLength(1);
      });

      it('waits with the way back while the device is in the air', async () => {
        const services = new InMemoryServices();
        const gate = new ManualFlightGate(false);
        const setup = await setUp({ services, gate });
        await run(setup);
        services.sick = idsOf(newer);
        services.onUp = () => (gate.closed = true);
        services.ups.length = 0;
        await setup.unlock.start(of(newer));
        await gate.lookedAt(20);
        expect(setup.unlock.status().progress?.phase).toBe('waiting_for_flight_gate');
        expect(services.ups).toEqual([idsOf(newer)]);
        services.onUp = () => undefined;
        gate.closed = false;
        await setup.unlock.settled();
        expect(setup.unlock.status()).toMatchObject({ state: 'error', error: 'unlock.services-unhealthy' });
        expect(services.ups).toEqual([idsOf(newer), idsOf(archive)]);
      });
    });

    describe('that are being replaced', () => {
      /** A run that has just brought services up from new images which may or may not be good. */
      const halfWay = async (sick: boolean, at: (setup: Setup, services: InMemoryServices) => unknown) => {
        const services = new InMemoryServices();
        const setup = await setUp({ services });
        await run(setup);
        services.ups.length = 0;
        if (sick) services.sick = idsOf(newer);
        services.onUp = () => at(setup, services);
        expect(await run(setup, of(newer))).toBe('error');
        services.onUp = () => undefined;
        return { services, setup };
      };
      const hangs = (): Promise<never> => new Promise(() => undefined);

      it('brings the previous ones back when somebody cancels', async () => {
        const { services, setup } = await halfWay(false, ({ unlock }, { ups }) => {
          if (ups.length > 1) return undefined;
          unlock.cancel();
          return hangs();
        });
        expect(setup.unlock.status().error).toBe('unlock.cancelled');
        expect(services.ups).toEqual([idsOf(newer), idsOf(archive)]);
        for (const names of [references, kept])
          expect((await setup.runtime.present(names, NEVER)).map(({ imageId }) => imageId)).toEqual(idsOf(archive));
        expect(setup.records.saved.at(-1)).toMatchObject({ refused: null, servicesDue: false, rollbackDue: false });
        expect(await run(setup, of(newer))).toBe('ready');
      });

      it('ends the way back although somebody cancels', async () => {
        const { services, setup } = await halfWay(true, ({ unlock }) => {
          if (unlock.status().progress?.phase === 'rolling_back') unlock.cancel();
        });
        expect(services.ups).toEqual([idsOf(newer), idsOf(archive)]);
        expect(setup.records.saved.at(-1)).toMatchObject({ servicesDue: false, rollbackDue: false });
      });

      it('has nothing to cancel once they are healthy', async () => {
        const services = new InMemoryServices();
        const engine = new InMemoryImageRuntime();
        let refusal: unknown;
        const assign: ImageRuntime['assign'] = (wanted, signal) => {
          try {
            setup.unlock.cancel();
          } catch (error) {
            refusal = error;
          }
          return engine.assign(wanted, signal);
        };
        const setup = await setUp({ services, runtime: new OddRuntime({ assign }, engine) });
        expect(await run(setup)).toBe('ready');
        expect(refusal).toMatchObject({ code: 'unlock.not-running' });
      });

      it('leaves them at once when the process stops, and the next one brings them up without loading', async () => {
        const { services, setup } = await halfWay(false, ({ unlock }) => {
          void unlock.stop();
          return hangs();
        });
        expect(setup.unlock.status().error).toBe('unlock.interrupted');
        expect(services.ups).toEqual([idsOf(newer)]);
        expect(setup.records.saved.at(-1)).toMatchObject({ servicesDue: true, rollbackDue: false });
        for (const wish of [of(newer), noLink]) {
          let loads = 0;
          const load = (): Promise<never> => Promise.reject(new Error(`load ${(loads += 1)}`));
          const layers = (): Promise<ReadonlySet<string>> => Promise.resolve(new Set());
          const present: ImageRuntime['present'] = (wanted, signal) => setup.runtime.present(wanted, signal);
          const assign: ImageRuntime['assign'] = (wanted, signal) => setup.runtime.assign(wanted, signal);
          const runtime = new OddRuntime({ load, layers, present, assign });
          const again = await restarted(setup, services, { runtime });
          expect(await again.unlock.start(wish)).toEqual({ state: 'authenticating', begun: true });
          await again.unlock.settled();
          expect(again.unlock.status().state).toBe('ready');
          expect(distinct(again.states)).toEqual(['authenticating', 'loading_images', 'ready']);
          expect([loads, services.running]).toEqual([0, idsOf(newer)]);
        }
      });

      it('brings up what ran before, when that is wanted again after the process stopped', async () => {
        const services = new InMemoryServices();
        const setup = await setUp({ services });
        await run(setup);
        services.onUp = () => {
          void setup.unlock.stop();
          return hangs();
        };
        await run(setup, of(dockerArchive([{ reference: 'azaion/detections:1.5.0', content: randomBytes(3000) }])));
        services.onUp = () => undefined;
        expect(await run(await restarted(setup, services), of(archive))).toBe('ready');
        expect(services.ups.slice(1).map(({ length }) => length)).toEqual([1, 2]);
        expect(services.running).toEqual(idsOf(archive));
      });

      it('leaves the way back when the process stops, and the next one ends it, also without a link', async () => {
        const { services, setup } = await halfWay(true, ({ unlock }) => {
          if (unlock.status().progress?.phase !== 'rolling_back') return undefined;
          void unlock.stop();
          return hangs();
        });
        expect(setup.records.saved.at(-1)).toMatchObject({ state: 'error', rollbackDue: true });
        for (const wish of [of(newer), noLink]) {
          services.ups.length = 0;
          const again = await restarted(setup, services);
          expect(await run(again, wish)).toBe('error');
          expect(again.unlock.status().error).toBe('unlock.services-unhealthy');
          expect(services.ups).toEqual([idsOf(archive)]);
          expect(await again.unlock.start(of(newer))).toEqual({ state: 'error', begun: false });
          expect(services.ups).toHaveLength(1);
        }
      });
    });

    it('are replaced without loading by images that the engine has under other tags', async () => {
      const services = new InMemoryServices();
      const setup = await setUp({ services });
      const next = dockerArchive([{ reference: 'azaion/detections:1.5.0', content: randomBytes(3000) }]);
      await run(setup);
      await run(setup, of(next));
      const loadedBefore = setup.unlock.status().report;
      expect(await run(setup, of(archive))).toBe('ready');
      expect(services.ups).toEqual([idsOf(archive), idsOf(next), idsOf(archive)]);
      expect(setup.unlock.status().report).toBe(loadedBefore);
    });

    it('say which version they run from, also after the way back', async () => {
      const services = new InMemoryServices();
      const setup = await setUp({ services });
      const versioned = (wanted: TestArchive, version: number): UnlockRequest =>
        request(
          new OddSource(async () => {
            const found = await new InMemoryArchiveSource(wanted).find();
            return { ...found, version: { folder: 'images', name: 'field', version } };
          }),
        );
      await run(setup, versioned(archive, 3));
      expect(setup.unlock.status().loaded).toEqual({ folder: 'images', name: 'field', version: 3 });
      services.sick = idsOf(newer);
      await run(setup, versioned(newer, 4));
      expect(setup.unlock.status().loaded).toMatchObject({ version: 3 });
      services.sick = [];
      await run(setup, { ...versioned(newer, 4), byPerson: true });
      expect(setup.unlock.status().loaded).toMatchObject({ version: 4 });
    });

    it('says so when there is nothing to go back to', async () => {
      const services = new InMemoryServices();
      services.sick = idsOf(archive);
      const setup = await setUp({ services });
      expect(await run(setup)).toBe('error');
      expect(setup.unlock.status().error).toBe('unlock.services-unhealthy');
    });

    it('says so when the way back fails as well', async () => {
      const services = new InMemoryServices();
      const setup = await setUp({ services });
      await run(setup);
      services.sick = [...idsOf(newer), ...idsOf(archive)];
      expect(await run(setup, request(new InMemoryArchiveSource(newer)))).toBe('error');
      expect(setup.unlock.status().error).toBe('unlock.services-failed');
    });

    describe('that could not be started', () => {
      /** A device without a good set; its services fail for as long as they are sick. */
      const failing = async (): Promise<{ services: InMemoryServices; setup: Setup; clock: ManualClock }> => {
        const services = new InMemoryServices();
        services.sick = idsOf(archive);
        services.sickness = 'unlock.services-failed';
        const clock = new ManualClock(1_000_000);
        const setup = await setUp({ services, clock });
        expect(await run(setup)).toBe('error');
        return { services, setup, clock };
      };
      /** Whether the device tries when so much time has passed. */
      const triesAfter = async (passedMs: number, { setup, clock }: Awaited<ReturnType<typeof failing>>) => {
        clock.advance(passedMs);
        const { begun } = await setup.unlock.start(request());
        await setup.unlock.settled();
        return begun;
      };

      it('are tried again by the device itself, each time later, up to the longest pause', async () => {
        const device = await failing();
        expect(device.setup.unlock.status()).toMatchObject({
          error: 'unlock.services-failed',
          retry: { attempts: 1, notBefore: new Date(1_060_000).toISOString() },
        });
        const pauses = [60_000, 120_000, 240_000, 240_000];
        for (const pauseMs of pauses) {
          expect(await triesAfter(pauseMs - 1, device)).toBe(false);
          expect(await triesAfter(1, device)).toBe(true);
        }
        expect(device.services.ups).toHaveLength(1 + pauses.length);
        expect(device.setup.unlock.status().retry).toMatchObject({ attempts: 1 + pauses.length });
      });

      it('are not tried before, whoever asks and however often, and the log is told once', async () => {
        const { setup, services } = await failing();
        for (const wish of [request(), request(), { ...noLink, waitForLink: false }]) {
          await setup.unlock.start(wish);
          await setup.unlock.settled();
        }
        expect(services.ups).toHaveLength(1);
        expect(setup.errors.filter((error) => (error as UnlockError).code === 'unlock.services-failed')).toHaveLength(
          1,
        );
      });

      it('are not tried before either when the link comes back, or the process starts again', async () => {
        const { setup, services, clock } = await failing();
        const again = await restarted(setup, services, { clock });
        expect(again.unlock.status().retry).toMatchObject({ attempts: 1 });
        let attempts = 0;
        const late = new OddSource(() =>
          (attempts += 1) > 2
            ? new InMemoryArchiveSource(archive).find()
            : Promise.reject(new UnlockError('unlock.api-unreachable', TOLD)),
        );
        expect(await run(again, { ...request(late), waitForLink: true })).toBe('error');
        expect([again.unlock.status().error, services.ups.length]).toEqual(['unlock.services-failed', 1]);
      });

      it('are tried at once by a person, from another archive, and after the clock was set back by more', async () => {
        for (const wish of [byPerson(archive), of(newer)]) {
          const { setup, services } = await failing();
          services.sick = [];
          expect(await run(setup, wish)).toBe('ready');
          expect(setup.unlock.status().retry).toBeNull();
          expect(setup.records.saved.at(-1)).toMatchObject({ retry: null });
        }
        const device = await failing();
        device.clock.setWall(0);
        expect(await triesAfter(0, device)).toBe(true);
      });

      it('and could not be brought back either are brought back no sooner', async () => {
        const services = new InMemoryServices();
        const clock = new ManualClock(1_000_000);
        const setup = await setUp({ services, clock });
        await run(setup);
        services.sick = [...idsOf(newer), ...idsOf(archive)];
        expect(await run(setup, of(newer))).toBe('error');
        const { length } = services.ups;
        expect(await setup.unlock.start(of(newer))).toEqual({ state: 'error', begun: false });
        services.sick = [];
        clock.advance(60_000);
        expect(await run(setup, of(newer))).toBe('error');
        expect(services.ups.length).toBeGreaterThan(length);
        expect(services.running).toEqual(idsOf(archive));
        expect(setup.unlock.status()).toMatchObject({ error: 'unlock.services-unhealthy', retry: null });
      });
    });

    it('are not replaced in the air: a gate that closed while the last bytes went over is waited for', async () => {
      const services = new InMemoryServices();
      const gate = new ManualFlightGate(false);
      const engine = new InMemoryImageRuntime();
      const load: ImageRuntime['load'] = async (bytes, signal) => {
        const loaded = await engine.load(bytes, signal);
        gate.closed = true;
        return loaded;
      };
      const setup = await setUp({ services, gate, runtime: new OddRuntime({ load }, engine) });
      const phases: (string | undefined)[] = [];
      setup.unlock.subscribe(() => phases.push(setup.unlock.status().progress?.phase));
      let runningInTheAir: readonly string[] | undefined;
      void gate.lookedAt(20).then(() => {
        runningInTheAir = services.running;
        gate.closed = false;
      });
      expect(await run(setup)).toBe('ready');
      expect(runningInTheAir).toEqual([]);
      expect(distinct(phases)).toEqual(expect.arrayContaining(['waiting_for_flight_gate', 'starting_services']));
      expect(services.running).toEqual(idsOf(archive));
    });

    it('says so when the engine hangs while the good images get their tag', async () => {
      const engine = new InMemoryImageRuntime();
      const runtime = new OddRuntime({ assign: () => new Promise(() => undefined) }, engine);
      const setup = await setUp({ services: new InMemoryServices(), runtime, limits: { ...PATIENT, engine: 20 } });
      expect(await run(setup)).toBe('error');
      expect(setup.unlock.status().error).toBe('unlock.engine-stalled');
    });
  });

  it('ends a run when the process stops, and starts none from then on', async () => {
    const setup = await setUp();
    await setup.unlock.start({ ...request(), authenticate: () => new Promise(() => undefined) });
    await setup.unlock.stop();
    expect(setup.unlock.status()).toMatchObject({ state: 'error', error: 'unlock.interrupted' });
    await expect(setup.unlock.start(request())).rejects.toMatchObject({
      code: 'unlock.interrupted',
      message: expect.stringMatching(SENTENCE) as string,
    });
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
