import type { Clock } from '@azaion/kernel';

import { orAborted, pause } from './abortable.js';
import { UnlockError } from './errors.js';
import type { ExpectedImage } from './expected-image.js';
import { notAsExpected } from './image-checks.js';
import { KeptImages } from './kept-images.js';
import { LoadArchive, type LoadOutcome } from './load-archive.js';
import type { ArchiveInspector } from './ports/archive-inspector.js';
import type { ArchiveName, FoundArchive, OpenArchive } from './ports/archive-source.js';
import type { FlightGate } from './ports/flight-gate.js';
import type { EngineImage, ImageRuntime } from './ports/image-runtime.js';
import type { ServiceStack } from './ports/service-stack.js';
import { NOTHING_RECORDED, type UnlockRecord, type UnlockRecords } from './ports/unlock-records.js';
import { ProgressMeter, type UnlockPhase } from './progress-meter.js';
import { StartServices } from './start-services.js';
import type { UnlockLimits } from './unlock-limits.js';
import {
  interrupted,
  isCallersAnswer,
  isNoLink,
  isServicesFailed,
  isUnseen,
  outcomeOf,
  type OutcomeText,
  putOff,
  refused,
  SERVICES_FAILED,
} from './unlock-outcomes.js';
import type { UnlockRequest, UnlockStart } from './unlock-request.js';
import { isRunning, type UnlockState, UnlockStateMachine } from './unlock-state.js';
import { imageStatus, type UnlockImage, type UnlockReport, type UnlockStatus } from './unlock-status.js';
import { references, verifyLoaded } from './verify-loaded.js';
import { WatchedEngine } from './watched-engine.js';

/** What {@link UnlockImages} works with. */
export interface UnlockDependencies {
  /** Where images go; asked at the start of every run, which stays with the answer. */
  readonly runtime: (signal: AbortSignal) => Promise<ImageRuntime>;
  readonly inspector: ArchiveInspector;
  readonly records: UnlockRecords;
  /** `undefined` where nothing forbids loading at times. */
  readonly gate?: FlightGate | undefined;
  /** `undefined` where somebody else starts the services. */
  readonly services?: ServiceStack | undefined;
  readonly clock: Clock;
  readonly limits: UnlockLimits;
  /** Told of everything that went wrong, with causes: for the log. */
  readonly onError: (error: unknown) => void;
}

/** F4: gets a device's container images out of their archive into its engine. One run at a time. Source: loader HTTP contract. */
export class UnlockImages {
  private readonly machine: UnlockStateMachine;
  private readonly listeners = new Set<() => void>();
  private error: OutcomeText | null;
  private images: readonly UnlockImage[] = [];
  private archive: ArchiveName | null;
  private expected: readonly ExpectedImage[];
  private readonly kept: KeptImages;
  private report: UnlockReport | null = null;
  private starting: Promise<unknown> = Promise.resolve();
  private saving: Promise<void> = Promise.resolve();
  private run: Run | undefined;
  /** Of the run at work or about to be. */
  private active: AbortController | undefined;
  private asked: WatchedEngine | undefined;
  private readonly stopping = new AbortController();

  private constructor(
    private readonly using: UnlockDependencies,
    record: UnlockRecord,
  ) {
    const { state, error, detail, archive, images, ...kept } = record;
    this.machine = new UnlockStateMachine(state);
    this.error = error === null ? null : { code: error, message: detail ?? '' };
    this.archive = archive;
    this.expected = images;
    this.images = images.map((image) => imageStatus(image, state === 'ready'));
    this.kept = new KeptImages(kept);
  }

  /** Takes up where the last process stopped: a run that was cut off is an error now, `unlock.interrupted`. */
  static async restore(using: UnlockDependencies): Promise<UnlockImages> {
    const record = (await using.records.load()) ?? NOTHING_RECORDED;
    if (!isRunning(record.state)) return new UnlockImages(using, record);
    const { code, message } = interrupted();
    const unlock = new UnlockImages(using, { ...record, state: 'error', error: code, detail: message });
    await unlock.save();
    return unlock;
  }

  /** How it stands now. */
  status(): UnlockStatus {
    return {
      state: this.machine.current,
      error: this.error?.code ?? null,
      detail: this.error?.message ?? null,
      retry: this.retryStatus(),
      progress: this.run?.meter.snapshot() ?? null,
      images: this.images,
      loaded: this.kept.facts.loaded?.version ?? null,
      report: this.report,
    };
  }

  private retryStatus(): UnlockStatus['retry'] {
    const { retry } = this.kept.facts;
    if (retry === null || this.error?.code !== SERVICES_FAILED) return null;
    return { attempts: retry.attempts, notBefore: new Date(retry.atMs).toISOString() };
  }

  /** Whether a run is at work. */
  get running(): boolean {
    return this.run !== undefined;
  }

  /** Calls `listener` after every change of state or phase until the returned function is called. Progress between is the caller's to poll. */
  subscribe(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /**
   * Starts a run, unless one is at work, the images are there already, or the services were not healthy with them.
   *
   * @returns The state after that: `authenticating`, `ready`, `error` for images that are not tried again, or that of the run at work.
   * @throws UnlockError `unlock.archive-not-found`, `unlock.forbidden`, `unlock.credentials-rejected`; the state stays as it was then. Whatever
   *   else goes wrong ends the run, not this call.
   */
  async start(request: UnlockRequest): Promise<UnlockStart> {
    // One at a time: a second caller waits for the first one's answer, then finds its run at work.
    const turn = this.starting.then(() =>
      this.run === undefined ? this.begin(request) : { state: this.machine.current, begun: false },
    );
    this.starting = turn.catch(() => undefined);
    return turn;
  }

  /**
   * Ends the run at work, or about to be, with `unlock.cancelled`. The state changes as soon as the engine has let go; while services are
   * being replaced, as soon as the previous ones run again.
   *
   * @throws UnlockError `unlock.not-running`, also when the services are healthy with the new images already.
   */
  cancel(): void {
    if (this.active === undefined) throw new UnlockError('unlock.not-running', 'No unlock is running.');
    this.active.abort(new UnlockError('unlock.cancelled', 'The unlock was cancelled. Start it again when you want.'));
  }

  /**
   * Ends the run at work, if any, because the process stops; resolves when everything is let go and saved. Services that are being
   * replaced, or brought back, stay as they are at this moment: the next run settles them.
   */
  async stop(): Promise<void> {
    const reason = interrupted();
    this.stopping.abort(reason);
    this.active?.abort(reason);
    await this.settled();
  }

  /** Resolves when no run is at work and the record is saved. */
  async settled(): Promise<void> {
    await this.starting;
    await this.run?.done;
    await this.saving;
  }

  private async begin(request: UnlockRequest): Promise<UnlockStart> {
    if (this.stopping.signal.aborted)
      throw new UnlockError('unlock.interrupted', 'The Loader is stopping. Try again when it is back.');
    const abort = new AbortController();
    this.active = abort;
    if (request.byPerson === true) this.kept.forgetFailures();
    let work: Work | undefined;
    let first: () => FoundArchive;
    try {
      const runtime = await orAborted(this.using.runtime(abort.signal), abort.signal);
      this.asked = new WatchedEngine(runtime, this.using.limits.stall);
      const archive = await orAborted(request.source.find(abort.signal), abort.signal);
      this.expect(archive);
      work = await this.workLeft(abort.signal);
      first = () => archive;
    } catch (error) {
      // Whoever aborted this finds it as the outcome of a run.
      if (!abort.signal.aborted) {
        if (isUnseen(error)) work = await this.workLeftUnseen(abort.signal);
        if (work === undefined && isCallersAnswer(error)) {
          this.active = undefined;
          throw error;
        }
      }
      first = () => {
        throw error;
      };
    }
    if (work === 'none') return { state: this.arrive(), begun: false };
    if (work === 'refused') return { state: this.fail(refused()), begun: false };
    if (work === 'put-off') {
      // Asked every few minutes: what the last attempt ended with stands already.
      const stands = this.machine.current === 'error' && this.error?.code === SERVICES_FAILED;
      return { state: stands ? 'error' : this.fail(putOff()), begun: false };
    }
    const meter = new ProgressMeter(this.using.clock);
    const run: Run = { abort, meter, startedMs: meter.nowMs(), replacing: false, done: Promise.resolve() };
    this.run = run;
    this.error = null;
    this.enter('authenticating', meter);
    run.done = this.perform(request, work ?? { load: first }, run);
    return { state: 'authenticating', begun: true };
  }

  private async perform(request: UnlockRequest, work: Exclude<Work, string>, run: Run): Promise<void> {
    const { signal } = run.abort;
    try {
      if ('rollBack' in work) await this.endRollBack(run);
      else if ('services' in work) {
        this.passOver(run);
        await this.startServices(work.services, run);
      } else await this.loadAndStart(request, work.load, run);
      this.arrive();
    } catch (error) {
      const reason: unknown = signal.aborted && !run.replacing ? signal.reason : error;
      if (this.archive !== null && run.replacing && isServicesFailed(reason))
        this.kept.couldNotStart(this.archive, this.using.clock.nowMs(), this.using.limits.serviceRetryMs);
      this.fail(reason);
    }
    await this.saving;
  }

  private async loadAndStart(request: UnlockRequest, first: () => FoundArchive, run: Run): Promise<void> {
    const { meter } = run;
    const { signal } = run.abort;
    const found = await this.withLink(request, run, async (isFirst) => {
      await orAborted(request.authenticate(signal), signal);
      return isFirst ? first() : await orAborted(request.source.find(signal), signal);
    });
    this.expect(found);
    if (this.isPutOff(found)) throw putOff();
    if (this.kept.isRefused(found)) await this.endRollBack(run);
    this.enter('downloading_key', meter);
    const archive = await this.withLink(request, run, () => orAborted(found.open(signal), signal));
    meter.expect(archive.totalBytes);
    this.enter('decrypting', meter);
    signal.throwIfAborted();
    const before = await this.present(signal);
    const outcome = await this.load(archive, run);
    meter.enter('verifying');
    const images = await verifyLoaded(
      this.engine,
      outcome.images,
      { expected: this.expected, before, onCompared: (wrong) => this.areAllBut(wrong) },
      signal,
    );
    this.kept.areLoaded(found, images);
    await this.startServices(images, run);
    this.report = {
      archiveBytes: archive.totalBytes,
      loadedBytes: outcome.loadedBytes,
      reusedBytes: outcome.reusedBytes,
      ...archive.traffic(),
      durationMs: Math.round(meter.nowMs() - run.startedMs),
    };
  }

  /** Nothing is loaded: the states on the way have nothing to wait for. */
  private passOver({ meter }: Run): void {
    for (const state of ['downloading_key', 'decrypting'] as const) this.machine.moveTo(state);
    this.enter('loading_images', meter);
  }

  /** Tries again, when the request says so, while the link is not there. */
  private async withLink<T>(
    { waitForLink = false }: UnlockRequest,
    { abort: { signal }, meter }: Run,
    attempt: (isFirst: boolean) => Promise<T>,
  ): Promise<T> {
    const { first, longest } = this.using.limits.linkRetryMs;
    const { phase } = meter.snapshot();
    for (let retry = 0; ; retry++) {
      try {
        return await attempt(retry === 0);
      } catch (error) {
        if (signal.aborted || !waitForLink || !isNoLink(error)) throw error;
        if (retry === 0) this.using.onError(error);
        meter.enter('waiting_for_link');
        this.tell();
        await pause(Math.min(first * 2 ** Math.min(retry, 30), longest), signal);
        meter.enter(phase);
        this.tell();
      }
    }
  }

  private async load(archive: OpenArchive, run: Run): Promise<LoadOutcome> {
    const { inspector, gate, limits, onError } = this.using;
    return new LoadArchive({
      engine: this.engine,
      inspector,
      gate,
      gatePollMs: limits.gatePollMs,
      limits: limits.stall,
      leastPartBytes: limits.leastPartBytes,
      meter: run.meter,
      abort: run.abort,
      onFirstByte: () => this.enter('loading_images', run.meter),
      onPhase: () => this.tell(),
      onError,
    }).run(archive, this.expected);
  }

  private async startServices(images: readonly EngineImage[], run: Run): Promise<void> {
    const { services: stack } = this.using;
    if (stack === undefined) return;
    const { meter } = run;
    await this.passGate(meter, run.abort.signal);
    meter.enter('starting_services');
    this.kept.beginReplacing();
    await this.save();
    this.tell();
    run.replacing = true;
    try {
      await this.replacing(stack, run).run(images, this.kept.facts.lastGood?.images ?? []);
    } catch (error) {
      this.kept.areGivenUp(this.archive, error); // without a way back nothing else says so
      throw error;
    }
    this.kept.areHealthy();
  }

  /** Ends what a process that stopped has begun, and says why it was begun. @throws UnlockError, always. */
  private async endRollBack(run: Run): Promise<never> {
    const { services: stack } = this.using;
    const { lastGood, rollbackDue } = this.kept.facts;
    if (rollbackDue && stack !== undefined && lastGood !== null) {
      this.passOver(run);
      run.replacing = true;
      await this.replacing(stack, run).rollBack(lastGood.images, refused());
    }
    throw refused();
  }

  private replacing(stack: ServiceStack, run: Run): StartServices {
    const { archive, kept, stopping } = this;
    return new StartServices({
      stack,
      runtime: this.engine,
      healthTimeoutMs: this.using.limits.healthTimeoutMs,
      cancelled: run.abort.signal,
      stopping: stopping.signal,
      onHealthy: () => (this.active = undefined),
      beforeRollBack: async (reason) => {
        this.areAllBut(this.expected);
        kept.beginRollBack(archive, reason);
        await this.save();
        await this.passGate(run.meter, stopping.signal);
        run.meter.enter('rolling_back');
        this.tell();
      },
      onRolledBack: (reason) => kept.areRolledBack(archive, reason),
    });
  }

  /** Services are not replaced in the air either, when the gate was closed while the last bytes went over. */
  private async passGate(meter: ProgressMeter, signal: AbortSignal): Promise<void> {
    const { gate, limits } = this.using;
    for (let waited = false; gate !== undefined && (await gate.isClosed()); waited = true) {
      if (!waited) {
        meter.enter('waiting_for_flight_gate');
        this.tell();
      }
      await pause(limits.gatePollMs, signal);
    }
  }

  private expect(archive: FoundArchive): void {
    this.archive = { identity: archive.identity, version: archive.version };
    this.expected = archive.images;
    this.areAllBut(this.expected);
  }

  private isPutOff(archive: ArchiveName): boolean {
    const { clock, limits } = this.using;
    return this.kept.isPutOff(archive, clock.nowMs(), limits.serviceRetryMs);
  }

  /** What there is to do for the archive that was seen last, short of loading it; `undefined` when it has to be loaded. */
  private async workLeft(signal: AbortSignal): Promise<Work | undefined> {
    const { archive, kept } = this;
    if (archive === null || this.expected.length === 0) return undefined;
    if (this.isPutOff(archive)) return 'put-off';
    if (kept.isRefused(archive)) return kept.facts.rollbackDue ? { rollBack: true } : 'refused';
    const images = await this.present(signal);
    const wrong = notAsExpected(images, this.expected, kept.proofOf(archive));
    this.areAllBut(wrong);
    if (wrong.length > 0) return undefined;
    kept.areLoaded(archive, images);
    return this.using.services === undefined || kept.isRunning(archive) ? 'none' : { services: images };
  }

  /**
   * Without an archive to compare with, the one that was seen last has to do; when that was refused or put off, only waiting for another one
   * helps. An engine that does not answer has nothing.
   */
  private async workLeftUnseen(signal: AbortSignal): Promise<Work | undefined> {
    try {
      const work = await this.workLeft(signal);
      return work === 'refused' || work === 'put-off' ? undefined : work;
    } catch (error) {
      this.using.onError(error);
      return undefined;
    }
  }

  /** The engine has all of the expected images except these. */
  private areAllBut(missing: readonly ExpectedImage[]): void {
    this.images = this.expected.map((image) => imageStatus(image, !missing.includes(image)));
  }

  private get engine(): WatchedEngine {
    if (this.asked === undefined) throw new RangeError('an unlock asks for its runtime before anything else');
    return this.asked;
  }

  /** What of the expected images the engine has. */
  private present(signal: AbortSignal): Promise<readonly EngineImage[]> {
    return this.engine.present(references(this.expected), signal);
  }

  private arrive(): UnlockState {
    this.run = undefined;
    this.active = undefined;
    this.machine.moveTo('ready');
    this.error = null;
    this.areAllBut([]);
    this.changed();
    return 'ready';
  }

  private fail(error: unknown): UnlockState {
    this.run = undefined;
    this.active = undefined;
    this.using.onError(error);
    this.machine.moveTo('error');
    this.error = outcomeOf(error);
    this.changed();
    return 'error';
  }

  private enter(state: UnlockPhase & UnlockState, meter: ProgressMeter): void {
    this.machine.moveTo(state);
    meter.enter(state);
    this.changed();
  }

  private changed(): void {
    void this.save();
    this.tell();
  }

  private tell(): void {
    for (const listener of this.listeners) listener();
  }

  /** A record that cannot be saved does not stop an unlock: it is only missing after a restart. */
  private save(): Promise<void> {
    const record: UnlockRecord = {
      state: this.machine.current,
      error: this.error?.code ?? null,
      detail: this.error?.message ?? null,
      archive: this.archive,
      images: this.expected,
      ...this.kept.facts,
    };
    this.saving = this.saving.then(() => this.using.records.save(record)).catch(this.using.onError);
    return this.saving;
  }
}

/** What a wish comes to: nothing, images that are not tried again, or not yet, the end of a way back that was cut off, services alone, or everything. */
type Work =
  | 'none'
  | 'refused'
  | 'put-off'
  | { readonly rollBack: true }
  | { readonly services: readonly EngineImage[] }
  | { readonly load: () => FoundArchive };

interface Run {
  readonly abort: AbortController;
  readonly meter: ProgressMeter;
  readonly startedMs: number;
  /** Services are being replaced: how that ends is how the run ends, whoever cancelled it. */
  replacing: boolean;
  done: Promise<void>;
}
