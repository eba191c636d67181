/** Where the time comes from, so that tests can move it. */
export abstract class Clock {
  /** The wall clock in milliseconds since 1970. It may jump, in both directions. */
  abstract nowMs(): number;
  /** Milliseconds since some fixed moment of this process; it never goes back. For durations. */
  abstract monotonicMs(): number;
}

/** The machine's own clocks. */
export class SystemClock extends Clock {
  override nowMs(): number {
    return Date.now();
  }

  override monotonicMs(): number {
    return performance.now();
  }
}

/** A clock that stands still until it is moved. For tests. */
export class ManualClock extends Clock {
  private elapsedMs = 0;

  constructor(private wallMs: number) {
    super();
  }

  override nowMs(): number {
    return this.wallMs;
  }

  override monotonicMs(): number {
    return this.elapsedMs;
  }

  /** Lets time pass for both clocks. */
  advance(durationMs: number): void {
    this.wallMs += durationMs;
    this.elapsedMs += durationMs;
  }

  /** Sets the wall clock alone, as an operator or a dead battery would. */
  setWall(wallMs: number): void {
    this.wallMs = wallMs;
  }
}
