import type { ByteRange } from '@azaion/kernel';

import { abortable, pause } from './abortable.js';
import { UnlockError } from './errors.js';
import type { ExpectedImage } from './expected-image.js';
import { assertArchiveExpected } from './image-checks.js';
import { PartLoads } from './part-loads.js';
import type { ArchivedLayer, ArchiveInspector, ArchivePart, ArchiveSurvey } from './ports/archive-inspector.js';
import type { OpenArchive } from './ports/archive-source.js';
import type { FlightGate } from './ports/flight-gate.js';
import type { EngineImage } from './ports/image-runtime.js';
import type { ProgressMeter } from './progress-meter.js';
import { stalled, type StallLimits, StallWatch } from './stall-watch.js';
import type { WatchedEngine } from './watched-engine.js';

/** More of them make the engine begin no sooner. */
const MOST_PARTS = 8;
/** Each part has an image for each stack of layers in it. */
const PART_NAMES = Array.from({ length: 2 * MOST_PARTS }, (_, index) => `azaion-unlock-part:${index + 1}`);

/** What {@link LoadArchive} works with: one run's parts. */
export interface LoadArchiveDependencies {
  readonly engine: WatchedEngine;
  readonly inspector: ArchiveInspector;
  readonly gate: FlightGate | undefined;
  /** Between two looks at the gate. */
  readonly gatePollMs: number;
  readonly limits: StallLimits;
  /** A load of its own has to be worth its while. */
  readonly leastPartBytes: number;
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
 * leaves out the layers that the engine has, cuts a large one into parts, and waits while the flight gate is closed.
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
      if (survey !== undefined) {
        assertArchiveExpected(survey.images, expected);
        const known = await this.using.engine.layers(this.signal);
        const outcome = known && (await this.inParts(archive, survey, known, expected));
        if (outcome !== undefined) return outcome;
      }
      return await this.feed(archive, whole(archive), expected);
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

  /** @returns `undefined` when there is nothing to leave out or to cut off, or the engine refused it so: a layer may have gone since it was asked. */
  private async inParts(
    archive: OpenArchive,
    survey: ArchiveSurvey,
    known: ReadonlySet<string>,
    expected: readonly ExpectedImage[],
  ): Promise<LoadOutcome | undefined> {
    const { engine, onError } = this.using;
    // What a killed process has left; its layers are among the known ones.
    const left = known.size === 0 ? [] : await engine.present(PART_NAMES, this.signal);
    let names = left.map(({ reference }) => reference);
    try {
      const free = PART_NAMES.filter((name) => !names.includes(name));
      const cut = await this.cut(archive.totalBytes, survey, known, free);
      names = [...names, ...cut.parts.flatMap(({ references }) => references)];
      if (cut.parts.length === 0 && cut.bytes === archive.totalBytes) return undefined;
      return await this.feed(archive, cut, expected);
    } catch (error) {
      const refused =
        error instanceof UnlockError &&
        (error.code === 'unlock.archive-invalid' || error.code === 'unlock.engine-failed');
      if (!refused || this.signal.aborted) throw error;
      onError(error);
      return undefined;
    } finally {
      // However it ended, also when it was cancelled: what the archive's own images do not hold goes away with the parts.
      const gone = names.map((reference) => ({ reference, imageId: null }));
      if (gone.length > 0) await engine.assign(gone, new AbortController().signal).catch(onError);
    }
  }

  /** Leaves out the layers that the engine has, and lets it begin with the first of the others while those above are opened. */
  private async cut(
    totalBytes: number,
    survey: ArchiveSurvey,
    known: ReadonlySet<string>,
    names: readonly string[],
  ): Promise<CutArchive> {
    const missing = restOf(totalBytes, survey.layers, known);
    const leastBytes = Math.max(this.using.leastPartBytes, Math.ceil(missing.bytes / MOST_PARTS));
    const parts = await survey.parts(known, leastBytes, names);
    const cutOff = parts.flatMap(({ layers }) => layers.flatMap(({ chainIds }) => chainIds));
    const rest = restOf(totalBytes, survey.layers, new Set([...known, ...cutOff]));
    return { parts, rest, bytes: parts.reduce((sum, { pieces }) => sum + bytesIn(pieces), rest.bytes) };
  }

  private async feed(archive: OpenArchive, cut: CutArchive, expected: readonly ExpectedImage[]): Promise<LoadOutcome> {
    const { engine, inspector, meter } = this.using;
    const { parts, rest, bytes } = cut;
    meter.expect(bytes);
    this.watch.waitFor('engine');
    const loads = new PartLoads(
      engine.runtime,
      (plaintext) => this.handedOver(plaintext),
      () => this.watch.waitFor('engine-end'),
      this.signal,
    );
    try {
      for (const { pieces } of parts) await loads.begin(this.bytesOf(archive, pieces));
      const inspected = inspector.passThrough(this.bytesOf(archive, rest.ranges), (images) => {
        assertArchiveExpected(images, expected);
      });
      const images = await loads.end(inspected);
      const fromArchive = rest.bytes + bytesIn(parts.flatMap(({ layers }) => layers.map(({ range }) => range)));
      return { images, loadedBytes: bytes, reusedBytes: archive.totalBytes - fromArchive };
    } finally {
      await loads.stop();
      this.watch.stop();
    }
  }

  /** @param pieces - `undefined`: everything. */
  private async *bytesOf(archive: OpenArchive, pieces: CutArchive['rest']['ranges']): AsyncGenerator<Uint8Array> {
    const { signal } = this;
    if (pieces === undefined) yield* complete(abortable(archive.read(signal), signal), archive.totalBytes);
    else
      for (const piece of pieces) {
        if (piece instanceof Uint8Array) yield piece;
        else yield* complete(abortable(archive.read(signal, piece), signal), piece.end - piece.start);
      }
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

/** What the engine gets of an archive. */
interface CutArchive {
  readonly parts: readonly ArchivePart[];
  /** With the archive's own images. */
  readonly rest: ArchiveRest;
  /** All together. */
  readonly bytes: number;
}

interface ArchiveRest {
  /** `undefined`: everything. */
  readonly ranges: ArchivePart['pieces'] | undefined;
  readonly bytes: number;
}

function whole({ totalBytes }: OpenArchive): CutArchive {
  return { parts: [], rest: { ranges: undefined, bytes: totalBytes }, bytes: totalBytes };
}

/** An archive without the layers that are there. */
function restOf(totalBytes: number, layers: readonly ArchivedLayer[], there: ReadonlySet<string>): ArchiveRest {
  const ranges: ByteRange[] = [];
  let start = 0;
  for (const { chainIds, range } of layers) {
    if (!chainIds.every((chainId) => there.has(chainId))) continue;
    if (range.start > start) ranges.push({ start, end: range.start });
    start = range.end;
  }
  if (start < totalBytes) ranges.push({ start, end: totalBytes });
  return { ranges, bytes: bytesIn(ranges) };
}

function bytesIn(pieces: ArchivePart['pieces']): number {
  return pieces.reduce((sum, piece) => sum + (piece instanceof Uint8Array ? piece.length : piece.end - piece.start), 0);
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
