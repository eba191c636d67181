import { Clock } from '@azaion/kernel';

import { ResourceError } from '../errors.js';
import { type ClockReading, NoRunningClock, type RunningClock } from '../ports/running-clock.js';
import type { TimeMark, TimeMarkStore } from '../ports/time-mark-store.js';

/** How often the running time is written down. As much is added at a start for what a cut may have lost, where no clock tells. */
export const MARK_INTERVAL_MS = 60_000;
/** The last second of the year 9999: no API signs a later time. */
const LATEST_SECONDS = 253_402_300_799;

/** An answer of now that is so much earlier than the mark shows that the mark is wrong. */
const WRONG_BY_MS = 60_000;

/** What the running time is measured by, and what is known of this device. */
export interface TrustedTimeOptions {
  /** Measures the time between starts. Default: none does. */
  readonly running?: RunningClock;
  /** Milliseconds this machine has run since some fixed moment; time asleep should count. Default: the process's own clock. */
  readonly uptimeMs?: () => number;
  /** Whether there must be a mark, because there are leases: they are kept after it. Default: no. */
  readonly expectsMark?: boolean;
}

/**
 * The time as far as a device may believe it, whatever its own clock says. Only a time that the Admin API signed moves the mark; from
 * there on the time that the device has run counts, across restarts. A clock that starts in the past or jumps ahead thus neither opens
 * nor bricks anything. With a clock that cannot be set back, a TPM's, a mark that is restored has aged. Known limit: without one, who restores an
 * old data directory restores the old mark. Source: docs/formats/sealed-resource.md, "Leases".
 */
export class TrustedTime extends Clock {
  private mark: TimeMark;
  private markedAtMs: number;
  private writtenAtMs: number;
  /** The last signed time of this process, and the running time at which it came. */
  private seen: { readonly signedMs: number; readonly atMs: number } | undefined;
  private writing: Promise<void> = Promise.resolve();
  private isWritten = false;

  private constructor(
    private readonly store: TimeMarkStore,
    private readonly machine: Clock,
    private readonly running: RunningClock,
    private readonly uptimeMs: () => number,
    kept: TimeMark | undefined,
    /** Whether somebody has removed or changed the mark, or it cannot be written, so that nobody knows how much time has passed. */
    private isUncertain: boolean,
  ) {
    super();
    this.mark = kept ?? { signedSeconds: 0, runningMs: 0 };
    this.markedAtMs = uptimeMs();
    this.writtenAtMs = this.markedAtMs;
  }

  /**
   * Reads the kept mark and counts this start. Where the disk is full, it is not known any more how much time has passed.
   *
   * @throws As the store and the running clock.
   */
  static async open(store: TimeMarkStore, machine: Clock, options: TrustedTimeOptions = {}): Promise<TrustedTime> {
    const { running = new NoRunningClock(), uptimeMs = () => machine.monotonicMs(), expectsMark = false } = options;
    const kept = await store.read();
    if (kept === undefined) return new TrustedTime(store, machine, running, uptimeMs, undefined, expectsMark);
    const { runningMs } = kept;
    const since = sinceMark(kept, await running.read());
    const isForeign = running.isLasting && kept.clock === undefined;
    const counted = { signedSeconds: kept.signedSeconds, runningMs: runningMs + since };
    const time = new TrustedTime(store, machine, running, uptimeMs, counted, isForeign && expectsMark);
    if (time.isCertain) await time.writeStart();
    return time;
  }

  /** Whether it is known how much time has passed. Where it is not, no lease holds until the Admin API signs a time. */
  get isCertain(): boolean {
    return !this.isUncertain;
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
    this.isUncertain = false;
    this.raise(signedSeconds);
  }

  /**
   * As {@link observe}, for the answer to a nonce of this device's own making: nobody can have kept it for later. A mark that is later by far
   * was made by a clock that ran ahead, or an Admin API that did, and goes back.
   */
  confirm(signedSeconds: number): void {
    this.observe(signedSeconds);
    if (!isTime(signedSeconds) || this.signedMs() - signedSeconds * 1000 <= WRONG_BY_MS) return;
    this.mark = { signedSeconds, runningMs: 0 };
    this.markedAtMs = this.uptimeMs();
  }

  /** Takes note of a time that the Admin API signed some time ago, in a grant that was carried here: it is not earlier than that now. */
  raise(signedSeconds: number): void {
    if (!isTime(signedSeconds) || signedSeconds * 1000 <= this.signedMs()) return; // the mark only rises
    this.mark = { signedSeconds, runningMs: 0 };
    this.markedAtMs = this.uptimeMs();
  }

  /** Writes the mark down unless one is on the disk: to be called before a lease is kept, which does not hold without it. @throws as {@link write}. */
  async keepFirst(): Promise<void> {
    if (!this.isWritten && this.isCertain && this.mark.signedSeconds > 0) await this.write();
  }

  /** Writes the mark down when that has not been done for {@link MARK_INTERVAL_MS}. To be called now and then. @throws as the store. */
  async keep(): Promise<void> {
    if (!this.isCertain || this.mark.signedSeconds === 0) return;
    if (!this.isWritten || this.uptimeMs() - this.writtenAtMs >= MARK_INTERVAL_MS) await this.write();
  }

  /** Writes the mark down now. @throws as the store and the running clock. */
  async write(): Promise<void> {
    this.writtenAtMs = this.uptimeMs();
    const written = this.writing.then(async () => {
      const { era, elapsedMs } = await this.running.read();
      const mark = { signedSeconds: this.mark.signedSeconds, runningMs: Math.floor(this.runningMs()) };
      await this.store.write(era === undefined ? mark : { ...mark, clock: { era, elapsedMs } });
      this.isWritten = true;
    });
    this.writing = written.catch(() => undefined);
    await written;
  }

  /** A start that a full disk lets nobody write down would not count: who fills it could stop the time by starting again and again. */
  private async writeStart(): Promise<void> {
    try {
      await this.write();
    } catch (error) {
      if (!(error instanceof ResourceError) || error.code !== 'resource.no-space') throw error;
      this.isUncertain = true;
    }
  }

  private runningMs(): number {
    return this.mark.runningMs + Math.max(0, this.uptimeMs() - this.markedAtMs);
  }
}

/** How long the device has run since a mark, at least. */
function sinceMark({ clock }: TimeMark, { era, elapsedMs, isExact }: ClockReading): number {
  if (clock === undefined || era === undefined || clock.era !== era) return MARK_INTERVAL_MS;
  const measured = Math.max(0, elapsedMs - clock.elapsedMs);
  return isExact ? measured : Math.max(measured, MARK_INTERVAL_MS);
}

function isTime(seconds: number): boolean {
  return Number.isFinite(seconds) && seconds > 0 && seconds <= LATEST_SECONDS;
}
