import { type ByteRange } from '@azaion/kernel';

import { abortable, orAborted, pause } from './abortable.js';
import { UnlockError } from './errors.js';
import { type ExpectedImage } from './expected-image.js';
import { assertArchiveExpected } from './image-checks.js';
import { type ArchiveInspector, type ArchiveSurvey } from './ports/archive-inspector.js';
import { type OpenArchive } from './ports/archive-source.js';
import { type FlightGate } from './ports/flight-gate.js';
import { type EngineImage, type ImageRuntime } from './ports/image-runtime.js';
import { type ProgressMeter } from './progress-meter.js';
import { stalled, type StallLimits, StallWatch } from './stall-watch.js';

/** What {@link LoadArchive} works with: one run's parts. */
export interface LoadArchiveDependencies {
  readonly runtime: ImageRuntime;
  readonly inspector: ArchiveInspector;
  readonly gate: FlightGate | undefined;
  /** Between two looks at the gate. */
  readonly gatePollMs: number;
  readonly limits: StallLimits;
  readonly meter: ProgressMeter;
  /** Ends the load when something stalls. */
  readonly abort: AbortController;
  /** The first byte is about to reach the engine. */
  readonly onFirstByte: () => void;
  /** The progress entered another phase. */
  readonly onPhase: () => void;
  readonly onError: (error: unknown) => void;
}

/** What a load did. */
export interface LoadOutcome {
  /** The engine's own word. */
  readonly images: readonly EngineImage[];
  /** Plaintext bytes that the engine was given. */
  readonly loadedBytes: number;
  /** Plaintext bytes of layers that it had already, and that nobody fetched or opened. */
  readonly reusedBytes: number;
}

/**
 * F4: gets one opened archive into the engine: refuses it by its manifest before the engine gets a byte where its form allows that,
 * leaves out the layers that the engine has, and waits while the flight gate is closed.
 */
export class LoadArchive {
  private readonly signal: AbortSignal;
  private readonly watch: StallWatch;
  private lookedAtGateMs = -Infinity;
  private begun = false;

  constructor(private readonly using: LoadArchiveDependencies) {
    const { abort, limits } = using;
    this.signal = abort.signal;
    this.watch = new StallWatch(limits, (awaited) => abort.abort(stalled(awaited)));
  }

  /** @throws UnlockError; what the archive throws; the signal's reason. */
  async run(archive: OpenArchive, expected: readonly ExpectedImage[]): Promise<LoadOutcome> {
    try {
      await this.passGate();
      const survey = await this.surveyed(archive);
      if (survey !== undefined) assertArchiveExpected(survey.images, expected);
      const parts = survey === undefined ? undefined : await this.withoutKnownLayers(archive.totalBytes, survey);
      if (parts !== undefined && parts.bytes < archive.totalBytes) {
        const outcome = await this.withLayersLeftOut(archive, parts, expected);
        if (outcome !== undefined) return outcome;
      }
      return await this.feed(archive, { ranges: undefined, bytes: archive.totalBytes }, expected);
    } finally {
      this.watch.stop();
    }
  }

  private async surveyed(archive: OpenArchive): Promise<ArchiveSurvey | undefined> {
    this.enter('inspecting');
    const survey = await this.using.inspector.survey({
      totalBytes: archive.totalBytes,
      read: async (range) => {
        this.watch.waitFor('archive');
        const pieces: Uint8Array[] = [];
        for await (const piece of abortable(archive.read(this.signal, range), this.signal)) pieces.push(piece);
        this.using.meter.touch();
        const bytes = Buffer.concat(pieces);
        if (bytes.length !== range.end - range.start) throw truncated();
        return bytes;
      },
    });
    this.watch.stop();
    this.enter('decrypting');
    return survey;
  }

  private async withoutKnownLayers(totalBytes: number, survey: ArchiveSurvey): Promise<ArchiveParts> {
    this.watch.waitFor('engine');
    const known = await orAborted(this.using.runtime.layers(this.signal), this.signal);
    this.watch.stop();
    const ranges: ByteRange[] = [];
    let start = 0;
    for (const { chainIds, range } of survey.layers) {
      if (!chainIds.every((chainId) => known.has(chainId))) continue;
      if (range.start > start) ranges.push({ start, end: range.start });
      start = range.end;
    }
    if (start < totalBytes) ranges.push({ start, end: totalBytes });
    return { ranges, bytes: ranges.reduce((sum, range) => sum + range.end - range.start, 0) };
  }

  /** @returns `undefined` when the engine did not take it: a layer may have gone since it was asked, or it needs whole archives. */
  private async withLayersLeftOut(
    archive: OpenArchive,
    parts: ArchiveParts,
    expected: readonly ExpectedImage[],
  ): Promise<LoadOutcome | undefined> {
    try {
      return await this.feed(archive, parts, expected);
    } catch (error) {
      const refused =
        error instanceof UnlockError &&
        (error.code === 'unlock.archive-invalid' || error.code === 'unlock.engine-failed');
      if (!refused || this.signal.aborted) throw error;
      this.using.onError(error);
      return undefined;
    }
  }

  private async feed(
    archive: OpenArchive,
    parts: ArchiveParts,
    expected: readonly ExpectedImage[],
  ): Promise<LoadOutcome> {
    const { runtime, inspector, meter } = this.using;
    meter.expect(parts.bytes);
    this.watch.waitFor('engine');
    const plaintext = complete(abortable(this.bytesOf(archive, parts), this.signal), parts.bytes);
    const inspected = inspector.passThrough(plaintext, (images) => {
      assertArchiveExpected(images, expected);
    });
    const images = await runtime.load(this.handedOver(inspected), this.signal);
    return { images, loadedBytes: parts.bytes, reusedBytes: archive.totalBytes - parts.bytes };
  }

  private async *bytesOf(archive: OpenArchive, { ranges }: ArchiveParts): AsyncGenerator<Uint8Array> {
    if (ranges === undefined) yield* archive.read(this.signal);
    else for (const range of ranges) yield* archive.read(this.signal, range);
  }

  /** What the engine pulls from: it moves the progress on, and knows who is being waited for. */
  private async *handedOver(plaintext: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    const { meter, onFirstByte } = this.using;
    this.watch.waitFor('archive');
    for await (const bytes of plaintext) {
      await this.passGate();
      this.watch.waitFor('engine');
      const sizeBytes = bytes.length; // whoever takes them may give their memory back
      yield bytes;
      meter.add(sizeBytes);
      if (!this.begun) onFirstByte();
      this.begun = true;
      this.watch.waitFor('archive');
    }
    this.watch.waitFor('engine-end');
  }

  /** Waits while the gate is closed; nobody counts as stalled meanwhile. */
  private async passGate(): Promise<void> {
    const { gate, gatePollMs, meter } = this.using;
    if (gate === undefined || meter.nowMs() - this.lookedAtGateMs < gatePollMs) return;
    const phase = meter.snapshot().phase;
    let waited = false;
    while (await gate.isClosed()) {
      this.watch.stop();
      if (!waited) this.enter('waiting_for_flight_gate');
      waited = true;
      await pause(gatePollMs, this.signal);
    }
    if (waited) this.enter(phase);
    this.lookedAtGateMs = meter.nowMs();
  }

  private enter(phase: Parameters<ProgressMeter['enter']>[0]): void {
    this.using.meter.enter(phase);
    this.using.onPhase();
  }
}

interface ArchiveParts {
  /** `undefined`: everything. */
  readonly ranges: readonly ByteRange[] | undefined;
  readonly bytes: number;
}

/** Passes an archive through and refuses an end that comes too early, or too late. */
async function* complete(plaintext: AsyncIterable<Uint8Array>, bytesDue: number): AsyncGenerator<Uint8Array> {
  let bytesDone = 0;
  for await (const bytes of plaintext) {
    bytesDone += bytes.length;
    if (bytesDone > bytesDue)
      throw new UnlockError('unlock.archive-invalid', 'The archive is longer than it was signed for.');
    yield bytes;
  }
  if (bytesDone < bytesDue) throw truncated();
}

function truncated(): UnlockError {
  return new UnlockError('unlock.archive-truncated', 'The archive ended too early. Fetch or copy it again.');
}
