import { type Clock, DomainError } from '@azaion/kernel';

import { abortable, orAborted } from './abortable.js';
import { UNLOCK_ERRORS, UnlockError, type UnlockErrorCode } from './errors.js';
import { canonicalReference, type ExpectedImage } from './expected-image.js';
import { assertArchiveExpected, mismatch, notAsExpected, notSignedFor, unsigned } from './image-checks.js';
import { type ArchiveInspector } from './ports/archive-inspector.js';
import { type ArchiveSource, type FoundArchive } from './ports/archive-source.js';
import { type EngineImage, type ImageRuntime } from './ports/image-runtime.js';
import { type UnlockRecords } from './ports/unlock-records.js';
import { ProgressMeter, type UnlockPhase, type UnlockProgress } from './progress-meter.js';
import { type Awaited, type StallLimits, StallWatch } from './stall-watch.js';
import { isRunning, type UnlockState, UnlockStateMachine } from './unlock-state.js';

/** An image that the newest archive holds, and whether the engine had it when it was last asked. */
export interface UnlockImage {
  readonly reference: string;
  readonly configDigest: string | null;
  readonly present: boolean;
}

/** What everybody may know of the unlock (F5). */
export interface UnlockStatus {
  readonly state: UnlockState;
  /** Stable code of what ended the last run. */
  readonly error: string | null;
  /** The same in a plain sentence. */
  readonly detail: string | null;
  /** `null` when nothing runs. */
  readonly progress: UnlockProgress | null;
  readonly images: readonly UnlockImage[];
}

/** One wish to unlock. */
export interface UnlockRequest {
  /** The archive as this caller may open it. */
  readonly source: ArchiveSource;
  /** Makes sure that the caller's session still stands. @throws UnlockError or another coded error. */
  authenticate(signal: AbortSignal): Promise<void>;
}

/** What {@link UnlockImages} works with. */
export interface UnlockDependencies {
  /** Where images go; asked at the start of every run, which stays with the answer. */
  readonly runtime: (signal: AbortSignal) => Promise<ImageRuntime>;
  readonly inspector: ArchiveInspector;
  readonly records: UnlockRecords;
  readonly clock: Clock;
  readonly limits: StallLimits;
  /** Told of everything that went wrong, with causes: for the log. */
  readonly onError: (error: unknown) => void;
}

/** F4: gets a device's container images out of their archive into its engine. One run at a time. Source: loader HTTP contract. */
export class UnlockImages {
  private readonly machine: UnlockStateMachine;
  private readonly listeners = new Set<() => void>();
  private error: DomainErrorText | null;
  private images: readonly UnlockImage[] = [];
  private expected: readonly ExpectedImage[];
  private starting: Promise<unknown> = Promise.resolve();
  private saving: Promise<void> = Promise.resolve();
  private run: Run | undefined;
  /** Of the run at work or about to be. */
  private active: AbortController | undefined;
  private runtime: ImageRuntime | undefined;
  private stopped = false;

  private constructor(
    private readonly using: UnlockDependencies,
    state: UnlockState,
    error: DomainErrorText | null,
    expected: readonly ExpectedImage[],
  ) {
    this.machine = new UnlockStateMachine(state);
    this.error = error;
    this.expected = expected;
    this.images = expected.map((image) => imageStatus(image, state === 'ready'));
  }

  /** Takes up where the last process stopped: a run that was cut off is an error now, `unlock.interrupted`. */
  static async restore(using: UnlockDependencies): Promise<UnlockImages> {
    const record = await using.records.load();
    if (record === undefined) return new UnlockImages(using, 'idle', null, []);
    if (!isRunning(record.state)) {
      const error = record.error === null ? null : { code: record.error, message: record.detail ?? '' };
      return new UnlockImages(using, record.state, error, record.images);
    }
    const unlock = new UnlockImages(using, 'error', interrupted(), record.images);
    await unlock.save();
    return unlock;
  }

  /** How it stands now. */
  status(): UnlockStatus {
    return {
      state: this.machine.current,
      error: this.error?.code ?? null,
      detail: this.error?.message ?? null,
      progress: this.run?.meter.snapshot() ?? null,
      images: this.images,
    };
  }

  /** Whether a run is at work. */
  get running(): boolean {
    return this.run !== undefined;
  }

  /** Calls `listener` after every change of state until the returned function is called. Progress between is the caller's to poll. */
  subscribe(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /**
   * Starts a run, unless one is at work or the images are there already.
   *
   * @returns The state after that: `authenticating`, `ready`, or that of the run at work.
   * @throws UnlockError `unlock.archive-not-found`, `unlock.forbidden`, `unlock.credentials-rejected`; the state stays as it was then. Whatever
   *   else goes wrong ends the run, not this call.
   */
  async start(request: UnlockRequest): Promise<UnlockState> {
    // One at a time: a second caller waits for the first one's answer, then finds its run at work.
    const turn = this.starting.then(() => (this.run === undefined ? this.begin(request) : this.machine.current));
    this.starting = turn.catch(() => undefined);
    return turn;
  }

  /**
   * Ends the run at work, or about to be, with `unlock.cancelled`. The state changes as soon as the engine has let go.
   *
   * @throws UnlockError `unlock.not-running`.
   */
  cancel(): void {
    if (this.active === undefined) throw new UnlockError('unlock.not-running', 'No unlock is running.');
    this.active.abort(new UnlockError('unlock.cancelled', 'The unlock was cancelled. Start it again when you want.'));
  }

  /** Ends the run at work, if any, because the process stops; resolves when everything is let go and saved. */
  async stop(): Promise<void> {
    this.stopped = true;
    this.active?.abort(new UnlockError('unlock.interrupted', interrupted().message));
    await this.settled();
  }

  /** Resolves when no run is at work and the record is saved. */
  async settled(): Promise<void> {
    await this.starting;
    await this.run?.done;
    await this.saving;
  }

  private async begin(request: UnlockRequest): Promise<UnlockState> {
    if (this.stopped) throw new UnlockError('unlock.interrupted', 'The Loader is stopping. Try again when it is back.');
    const abort = new AbortController();
    this.active = abort;
    let found: () => FoundArchive;
    try {
      this.runtime = await orAborted(this.using.runtime(abort.signal), abort.signal);
      const archive = await orAborted(request.source.find(abort.signal), abort.signal);
      this.expect(archive.images);
      if (await this.allThere(abort.signal)) return this.arrive();
      found = () => archive;
    } catch (error) {
      // Whoever aborted this finds it as the outcome of a run.
      if (!abort.signal.aborted && isCallersAnswer(error)) {
        if (error.code === 'unlock.archive-not-found' && (await this.stillThere(abort.signal))) return this.arrive();
        this.active = undefined;
        throw error;
      }
      found = () => {
        throw error;
      };
    }
    const meter = new ProgressMeter(this.using.clock);
    const run: Run = { abort, meter, done: Promise.resolve() };
    this.run = run;
    this.error = null;
    this.enter('authenticating', meter);
    run.done = this.perform(request, found, run);
    return 'authenticating';
  }

  private async perform(request: UnlockRequest, found: () => FoundArchive, run: Run): Promise<void> {
    const { abort, meter } = run;
    try {
      await orAborted(request.authenticate(abort.signal), abort.signal);
      this.enter('downloading_key', meter);
      abort.signal.throwIfAborted();
      const archive = found();
      meter.expect(archive.totalBytes);
      this.enter('decrypting', meter);
      abort.signal.throwIfAborted();
      const loaded = await this.load(archive, run);
      meter.enter('verifying');
      await this.verify(loaded, abort.signal);
      this.arrive();
    } catch (error) {
      this.fail(abort.signal.aborted ? (abort.signal.reason as unknown) : error);
    }
    await this.saving;
  }

  private async load(archive: FoundArchive, run: Run): Promise<readonly EngineImage[]> {
    const { signal } = run.abort;
    const watch = new StallWatch(this.using.limits, (awaited) => run.abort.abort(stalled(awaited)));
    watch.waitFor('archive');
    try {
      const plaintext = complete(abortable(archive.read(signal), signal), archive.totalBytes);
      const inspected = this.using.inspector.passThrough(plaintext, (images) => {
        assertArchiveExpected(images, archive.images);
      });
      return await this.engine.load(this.fed(inspected, run, watch), signal);
    } finally {
      watch.stop();
    }
  }

  /** What the engine pulls from: it moves the state and the progress on, and knows who is being waited for. */
  private async *fed(plaintext: AsyncIterable<Uint8Array>, run: Run, watch: StallWatch): AsyncGenerator<Uint8Array> {
    for await (const bytes of plaintext) {
      watch.waitFor('engine');
      yield bytes;
      run.meter.add(bytes.length);
      if (this.machine.current === 'decrypting') this.enter('loading_images', run.meter);
      watch.waitFor('archive');
    }
    watch.waitFor('engine-end');
  }

  /** The engine's own word is checked: a success that left the wrong images behind, or none, is none. */
  private async verify(loaded: readonly EngineImage[], signal: AbortSignal): Promise<void> {
    const surplus = notSignedFor(loaded, this.expected);
    if (surplus.length > 0) {
      await this.removed(surplus, signal);
      throw unsigned(references(surplus).join(', '));
    }
    const present = await this.present(signal);
    const wrong = notAsExpected(present, this.expected);
    this.images = this.expected.map((image) => imageStatus(image, !wrong.includes(image)));
    if (wrong.length === 0) return;
    const foreign = wrong.filter((image) => isNamed(present, image.reference));
    if (foreign.length === 0)
      throw new UnlockError(
        'unlock.engine-failed',
        'The container engine said that it loaded the images, but they are not there. Look at its log.',
        { details: { missing: references(wrong) } },
      );
    await this.removed(foreign, signal);
    throw mismatch(references(foreign).join(', '));
  }

  private expect(images: readonly ExpectedImage[]): void {
    this.expected = images;
    this.images = images.map((image) => imageStatus(image, false));
  }

  private async allThere(signal: AbortSignal): Promise<boolean> {
    if (this.expected.length === 0) return false;
    const present = await this.present(signal);
    const wrong = notAsExpected(present, this.expected);
    this.images = this.expected.map((image) => imageStatus(image, !wrong.includes(image)));
    return wrong.length === 0;
  }

  private get engine(): ImageRuntime {
    if (this.runtime === undefined) throw new RangeError('an unlock asks for its runtime before anything else');
    return this.runtime;
  }

  /** What of the expected images the engine has. */
  private present(signal: AbortSignal): Promise<readonly EngineImage[]> {
    return this.askEngine(signal, (either) => this.engine.present(references(this.expected), either));
  }

  private removed(images: readonly { readonly reference: string }[], signal: AbortSignal): Promise<void> {
    return this.askEngine(signal, (either) => this.engine.remove(references(images), either));
  }

  /** A question to an engine that does nothing for too long is given up, as a load is. */
  private async askEngine<T>(signal: AbortSignal, ask: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const late = new AbortController();
    const watch = new StallWatch(this.using.limits, (awaited) => late.abort(stalled(awaited)));
    watch.waitFor('engine');
    const either = AbortSignal.any([signal, late.signal]);
    try {
      return await orAborted(ask(either), either);
    } finally {
      watch.stop();
    }
  }

  /** Without an archive to compare with, what the last one was signed for has to do. An engine that does not answer has nothing. */
  private async stillThere(signal: AbortSignal): Promise<boolean> {
    try {
      return await this.allThere(signal);
    } catch (error) {
      this.using.onError(error);
      return false;
    }
  }

  private arrive(): UnlockState {
    this.run = undefined;
    this.active = undefined;
    this.machine.moveTo('ready');
    this.error = null;
    this.images = this.expected.map((image) => imageStatus(image, true));
    this.changed();
    return 'ready';
  }

  private fail(error: unknown): void {
    this.run = undefined;
    this.active = undefined;
    this.using.onError(error);
    this.machine.moveTo('error');
    this.error = isDomainError(error)
      ? { code: error.code, message: error.message }
      : { code: 'unlock.failed', message: 'The unlock failed for a reason that it did not expect; see the log.' };
    this.changed();
  }

  private enter(state: UnlockPhase & UnlockState, meter: ProgressMeter): void {
    this.machine.moveTo(state);
    meter.enter(state);
    this.changed();
  }

  private changed(): void {
    void this.save();
    for (const listener of this.listeners) listener();
  }

  /** A record that cannot be saved does not stop an unlock: it is only missing after a restart. */
  private save(): Promise<void> {
    const record = {
      state: this.machine.current,
      error: this.error?.code ?? null,
      detail: this.error?.message ?? null,
      images: this.expected,
    };
    this.saving = this.saving.then(() => this.using.records.save(record)).catch(this.using.onError);
    return this.saving;
  }
}

interface Run {
  readonly abort: AbortController;
  readonly meter: ProgressMeter;
  done: Promise<void>;
}

interface DomainErrorText {
  readonly code: string;
  readonly message: string;
}

function interrupted(): DomainErrorText & { readonly code: UnlockErrorCode } {
  return {
    code: 'unlock.interrupted',
    message: 'The Loader stopped while it was unlocking. Start the unlock again.',
  };
}

function stalled(awaited: Awaited): UnlockError {
  return awaited === 'archive'
    ? new UnlockError(
        'unlock.archive-stalled',
        'No byte of the archive came for too long. Check the disk or the link, then start again.',
      )
    : new UnlockError(
        'unlock.engine-stalled',
        'The container engine did nothing for too long. Restart it, then start the unlock again.',
      );
}

function isDomainError(error: unknown): error is DomainError {
  return error instanceof DomainError;
}

/** What only the caller can act on is the answer to the call; everything else is the outcome of the run. */
function isCallersAnswer(error: unknown): error is UnlockError {
  return (
    error instanceof UnlockError &&
    (UNLOCK_ERRORS[error.code] === 'caller' || error.code === 'unlock.archive-not-found')
  );
}

/** Passes an archive through and refuses an end that comes too early, or too late. */
async function* complete(
  plaintext: AsyncIterable<Uint8Array>,
  totalBytes: number | undefined,
): AsyncGenerator<Uint8Array> {
  let bytesDone = 0;
  for await (const bytes of plaintext) {
    bytesDone += bytes.length;
    if (totalBytes !== undefined && bytesDone > totalBytes)
      throw new UnlockError('unlock.archive-invalid', 'The archive is longer than it was signed for.');
    yield bytes;
  }
  if (totalBytes !== undefined && bytesDone < totalBytes)
    throw new UnlockError('unlock.archive-truncated', 'The archive ended too early. Fetch or copy it again.');
}

function references(images: readonly { readonly reference: string }[]): readonly string[] {
  return images.map((image) => image.reference);
}

function isNamed(images: readonly EngineImage[], reference: string): boolean {
  return images.some((image) => canonicalReference(image.reference) === canonicalReference(reference));
}

function imageStatus(image: ExpectedImage, present: boolean): UnlockImage {
  return { reference: image.reference, configDigest: image.configDigest, present };
}
