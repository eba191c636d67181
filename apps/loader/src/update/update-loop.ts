import type { Clock } from '@azaion/kernel';

/** Each interval is longer or shorter by up to so much of it: a fleet must not ask all at once. */
const JITTER = 0.2;

/** One round of work. @param dueMs - When the next is due, on the loop's clock: what takes longer goes on there. Must not reject. */
export type UpdateRound = (signal: AbortSignal, dueMs: number) => Promise<void>;

/** Runs rounds of work one after another, about one in each interval, until it is stopped. */
export class UpdateLoop {
  private readonly stopping = new AbortController();
  private timer: NodeJS.Timeout | undefined;
  private running: Promise<void> = Promise.resolve();

  /** @param intervalMs - From the beginning of a round to that of the next. 0 runs nothing. */
  constructor(
    private readonly intervalMs: number,
    private readonly round: UpdateRound,
    private readonly clock: Pick<Clock, 'monotonicMs'>,
    private readonly random: () => number = Math.random,
  ) {}

  /** How long after a round began the next one does, in milliseconds; later when it takes longer. */
  pauseMs(): number {
    return this.intervalMs * (1 - JITTER + 2 * JITTER * this.random());
  }

  /** Starts with a first round at once. */
  start(): void {
    if (this.intervalMs === 0 || this.stopping.signal.aborted) return;
    const { clock } = this;
    const dueMs = clock.monotonicMs() + this.pauseMs();
    this.running = this.round(this.stopping.signal, dueMs).then(() => {
      if (this.stopping.signal.aborted) return;
      this.timer = setTimeout(() => this.start(), Math.max(0, dueMs - clock.monotonicMs())).unref();
    });
  }

  /** Ends the round at work and waits for it. */
  async stop(): Promise<void> {
    clearTimeout(this.timer);
    this.stopping.abort(new Error('the Loader is stopping'));
    await this.running;
  }
}
