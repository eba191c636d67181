import type { Clock } from '@azaion/kernel';

/** What an unlock is busy with, finer than its state. */
export type UnlockPhase =
  | 'authenticating'
  | 'waiting_for_link'
  | 'downloading_key'
  | 'decrypting'
  | 'inspecting'
  | 'waiting_for_flight_gate'
  | 'loading_images'
  | 'verifying'
  | 'starting_services'
  | 'rolling_back';

/** How far an unlock is. */
export interface UnlockProgress {
  readonly phase: UnlockPhase;
  /** Plaintext bytes that the engine has taken. */
  readonly bytesDone: number;
  /** `null` while it is not known. */
  readonly bytesTotal: number | null;
  /** Mean of the last seconds: 0 shows a stall. */
  readonly bytesPerSecond: number;
  /** `null` when nothing moves or the total is not known. */
  readonly etaSeconds: number | null;
  /** Whole seconds for which nothing has moved although bytes are due; 0 while they flow, and where none are due. */
  readonly stalledSeconds: number;
}

const WINDOW_MS = 5000;
const SAMPLE_MS = 250;
/** A shorter pause is no stall: links and disks breathe. */
const STALL_MS = 3000;
/** While bytes are due. */
const MOVING_PHASES: readonly UnlockPhase[] = ['decrypting', 'inspecting', 'loading_images'];

/** Counts bytes and tells the speed over the last five seconds. */
export class ProgressMeter {
  private phase: UnlockPhase = 'authenticating';
  private bytesDone = 0;
  private bytesTotal: number | null = null;
  /** Oldest first; at most `WINDOW_MS / SAMPLE_MS + 1` of them. */
  private samples: { readonly atMs: number; readonly bytes: number }[] = [];
  private movedAtMs: number;

  constructor(private readonly clock: Clock) {
    this.movedAtMs = clock.monotonicMs();
  }

  enter(phase: UnlockPhase): void {
    this.phase = phase;
    this.touch();
  }

  /** Counts from nought again. @param bytesTotal - Plaintext bytes to come. */
  expect(bytesTotal: number): void {
    this.bytesTotal = bytesTotal;
    this.bytesDone = 0;
    this.samples = [{ atMs: this.clock.monotonicMs(), bytes: 0 }];
    this.touch();
  }

  /** Something moves, though no byte that is counted. */
  touch(): void {
    this.movedAtMs = this.clock.monotonicMs();
  }

  add(bytes: number): void {
    this.bytesDone += bytes;
    this.touch();
    const nowMs = this.clock.monotonicMs();
    const last = this.samples.at(-1);
    if (last !== undefined && nowMs - last.atMs < SAMPLE_MS) return;
    this.samples.push({ atMs: nowMs, bytes: this.bytesDone });
    // The last sample before the window stays: it is where the window's bytes are counted from.
    while (this.samples.length > 2 && nowMs - (this.samples[1]?.atMs ?? nowMs) >= WINDOW_MS) this.samples.shift();
  }

  /** The clock that it measures by: milliseconds that never go back. */
  nowMs(): number {
    return this.clock.monotonicMs();
  }

  snapshot(): UnlockProgress {
    const bytesPerSecond = this.speed();
    const bytesLeft = this.bytesTotal === null ? null : Math.max(0, this.bytesTotal - this.bytesDone);
    return {
      phase: this.phase,
      bytesDone: this.bytesDone,
      bytesTotal: this.bytesTotal,
      bytesPerSecond,
      etaSeconds: bytesLeft === null || bytesPerSecond === 0 ? null : Math.ceil(bytesLeft / bytesPerSecond),
      stalledSeconds: this.stalledSeconds(),
    };
  }

  private stalledSeconds(): number {
    const stillMs = this.clock.monotonicMs() - this.movedAtMs;
    // What the engine does after the last byte brings no bytes, and is no stall.
    const due = MOVING_PHASES.includes(this.phase) && this.bytesDone !== this.bytesTotal;
    return due && stillMs >= STALL_MS ? Math.floor(stillMs / 1000) : 0;
  }

  private speed(): number {
    const nowMs = this.clock.monotonicMs();
    const from = this.samples.findLast((sample) => nowMs - sample.atMs >= WINDOW_MS) ?? this.samples[0];
    if (from === undefined || nowMs <= from.atMs) return 0;
    return Math.round(((this.bytesDone - from.bytes) * 1000) / (nowMs - from.atMs));
  }
}
