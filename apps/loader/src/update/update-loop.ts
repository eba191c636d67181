/** Each pause is longer or shorter by up to so much of the interval: a fleet must not ask all at once. */
const JITTER = 0.2;

/** Runs rounds of work one after another, with a pause of about the interval between them, until it is stopped. */
export class UpdateLoop {
  private readonly stopping = new AbortController();
  private timer: NodeJS.Timeout | undefined;
  private running: Promise<void> = Promise.resolve();

  /**
   * @param intervalMs - 0 runs nothing.
   * @param round - Must not reject.
   */
  constructor(
    private readonly intervalMs: number,
    private readonly round: (signal: AbortSignal) => Promise<void>,
    private readonly random: () => number = Math.random,
  ) {}

  /** The pause after a round, in milliseconds. */
  pauseMs(): number {
    return this.intervalMs * (1 - JITTER + 2 * JITTER * this.random());
  }

  /** Starts with a first round at once. */
  start(): void {
    if (this.intervalMs === 0 || this.stopping.signal.aborted) return;
    this.running = this.round(this.stopping.signal).then(() => {
      if (!this.stopping.signal.aborted) this.timer = setTimeout(() => this.start(), this.pauseMs()).unref();
    });
  }

  /** Ends the round at work and waits for it. */
  async stop(): Promise<void> {
    clearTimeout(this.timer);
    this.stopping.abort(new Error('the Loader is stopping'));
    await this.running;
  }
}
