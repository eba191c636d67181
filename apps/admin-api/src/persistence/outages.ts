import type { Clock } from '@azaion/kernel';

/** Who tells the operator. */
export interface OutageReport {
  /** @param code - What the first failure was, such as `ECONNREFUSED`. */
  began(code: string): void;
  ended(durationMs: number): void;
}

/** After a failure this much time without another one ends an outage: while some calls fail and others do not, it goes on. */
const QUIET_MS = 1_000;

/** Tells of an outage once when it begins and once when it is over, however many calls fail in between. */
export class Outages {
  private sinceMs: number | undefined;
  private lastMs = 0;

  constructor(
    private readonly clock: Clock,
    private readonly report: OutageReport,
  ) {}

  /** A call failed. */
  failed(code: string): void {
    this.lastMs = this.clock.monotonicMs();
    if (this.sinceMs !== undefined) return;
    this.sinceMs = this.lastMs;
    this.report.began(code);
  }

  /** A call succeeded. */
  succeeded(): void {
    if (this.sinceMs === undefined) return;
    const nowMs = this.clock.monotonicMs();
    if (nowMs - this.lastMs < QUIET_MS) return;
    this.report.ended(nowMs - this.sinceMs);
    this.sinceMs = undefined;
  }
}
