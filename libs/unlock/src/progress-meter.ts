import { type Clock } from '@azaion/kernel';

/** What an unlock is busy with, finer than its state. */
export type UnlockPhase = 'authenticating' | 'downloading_key' | 'decrypting' | 'loading_images' | 'verifying';

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
}

const WINDOW_MS = 5000;
const SAMPLE_MS = 250;

/** Counts bytes and tells the speed over the last five seconds. */
export class ProgressMeter {
  private phase: UnlockPhase = 'authenticating';
  private bytesDone = 0;
  private bytesTotal: number | null = null;
  /** Oldest first; at most `WINDOW_MS / SAMPLE_MS + 1` of them. */
  private samples: { readonly atMs: number; readonly bytes: number }[] = [];

  constructor(private readonly clock: Clock) {}

  enter(phase: UnlockPhase): void {
    this.phase = phase;
  }

  /** @param bytesTotal - Plaintext bytes to come, if known. */
  expect(bytesTotal: number | undefined): void {
    this.bytesTotal = bytesTotal ?? null;
    this.samples = [{ atMs: this.clock.monotonicMs(), bytes: this.bytesDone }];
  }

  add(bytes: number): void {
    this.bytesDone += bytes;
    const nowMs = this.clock.monotonicMs();
    const last = this.samples.at(-1);
    if (last !== undefined && nowMs - last.atMs < SAMPLE_MS) return;
    this.samples.push({ atMs: nowMs, bytes: this.bytesDone });
    // The last sample before the window stays: it is where the window's bytes are counted from.
    while (this.samples.length > 2 && nowMs - (this.samples[1]?.atMs ?? nowMs) >= WINDOW_MS) this.samples.shift();
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
    };
  }

  private speed(): number {
    const nowMs = this.clock.monotonicMs();
    const from = this.samples.findLast((sample) => nowMs - sample.atMs >= WINDOW_MS) ?? this.samples[0];
    if (from === undefined || nowMs <= from.atMs) return 0;
    return Math.round(((this.bytesDone - from.bytes) * 1000) / (nowMs - from.atMs));
  }
}
