import { Clock } from '@azaion/kernel';

import { type TimeMark, type TimeMarkStore } from '../ports/time-mark-store.js';

/** How often the running time is written down. As much is added at every start, for what a cut may have lost. */
export const MARK_INTERVAL_MS = 60_000;
/** The last second of the year 9999: no API signs a later time. */
const LATEST_SECONDS = 253_402_300_799;

/**
 * The time as far as a device may believe it, whatever its own clock says. Only a time that the Admin API signed moves the mark; from
 * there on the time that the device has run counts, across restarts. A clock that starts in the past or jumps ahead thus neither opens
 * nor bricks anything. Known limit: without a TPM, who restores an old data directory restores the old mark. Source: docs/formats/sealed-resource.md, "Leases".
 */
export class TrustedTime extends Clock {
  private mark: TimeMark;
  private markedAtMs: number;
  private writtenAtMs: number;
  /** The last signed time of this process, and the running time at which it came. */
  private seen: { readonly signedMs: number; readonly atMs: number } | undefined;
  private writing: Promise<void> = Promise.resolve();

  private constructor(
    private readonly store: TimeMarkStore,
    private readonly machine: Clock,
    private readonly uptimeMs: () => number,
    kept: TimeMark | undefined,
  ) {
    super();
    this.mark = kept ?? { signedSeconds: 0, runningMs: 0 };
    this.markedAtMs = uptimeMs();
    this.writtenAtMs = this.markedAtMs;
  }

  /**
   * Reads the kept mark and counts this start.
   *
   * @param uptimeMs - Milliseconds this machine has run since some fixed moment; time asleep should count.
   */
  static async open(
    store: TimeMarkStore,
    machine: Clock,
    uptimeMs: () => number = () => machine.monotonicMs(),
  ): Promise<TrustedTime> {
    const kept = await store.read();
    if (kept === undefined) return new TrustedTime(store, machine, uptimeMs, undefined);
    const counted = { ...kept, runningMs: kept.runningMs + MARK_INTERVAL_MS };
    const time = new TrustedTime(store, machine, uptimeMs, counted);
    await time.write();
    return time;
  }

  /** For judging what has just come from the Admin API: the last time it signed here and what has passed since; before that the effective time. */
  override nowMs(): number {
    return this.seen === undefined
      ? this.effectiveMs()
      : Math.floor(this.seen.signedMs + this.uptimeMs() - this.seen.atMs);
  }

  override monotonicMs(): number {
    return this.machine.monotonicMs();
  }

  /** For judging leases: the machine's clock, but never before the last signed time and the running time since. */
  effectiveMs(): number {
    return Math.max(this.machine.nowMs(), this.signedMs());
  }

  /** The last signed time and the running time since: what has certainly passed. 0 when the API never signed any. */
  signedMs(): number {
    return this.mark.signedSeconds === 0 ? 0 : Math.floor(this.mark.signedSeconds * 1000 + this.runningMs());
  }

  /**
   * Takes note of a time that the Admin API has just signed: the `iat` of a token or grant whose signature was verified, and that answers
   * a call made now.
   *
   * @param signedSeconds - Seconds since 1970; what cannot be a time is ignored.
   */
  observe(signedSeconds: number): void {
    if (!isTime(signedSeconds)) return;
    this.seen = { signedMs: signedSeconds * 1000, atMs: this.uptimeMs() };
    this.raise(signedSeconds);
  }

  /** Takes note of a time that the Admin API signed some time ago, in a grant that was carried here: it is not earlier than that now. */
  raise(signedSeconds: number): void {
    if (!isTime(signedSeconds) || signedSeconds * 1000 <= this.signedMs()) return; // the mark only rises
    this.mark = { signedSeconds, runningMs: 0 };
    this.markedAtMs = this.uptimeMs();
  }

  /** Writes the mark down when that has not been done for {@link MARK_INTERVAL_MS}. To be called now and then. @throws as the store. */
  async keep(): Promise<void> {
    if (this.mark.signedSeconds > 0 && this.uptimeMs() - this.writtenAtMs >= MARK_INTERVAL_MS) await this.write();
  }

  /** Writes the mark down now. @throws as the store. */
  async write(): Promise<void> {
    this.writtenAtMs = this.uptimeMs();
    const written = this.writing.then(() =>
      this.store.write({ signedSeconds: this.mark.signedSeconds, runningMs: Math.floor(this.runningMs()) }),
    );
    this.writing = written.catch(() => undefined);
    await written;
  }

  private runningMs(): number {
    return this.mark.runningMs + Math.max(0, this.uptimeMs() - this.markedAtMs);
  }
}

function isTime(seconds: number): boolean {
  return Number.isFinite(seconds) && seconds > 0 && seconds <= LATEST_SECONDS;
}
