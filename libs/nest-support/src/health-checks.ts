import { type Clock, DomainError } from '@azaion/kernel';

/** One thing a service needs. */
export interface HealthCheck {
  /** Stable name, shown by the probe. */
  readonly name: string;
  /**
   * Resolves when all is well.
   *
   * @param signal - Aborted after `timeoutMs`.
   * @throws Anything; only a `DomainError`'s message is shown.
   */
  check(signal: AbortSignal): Promise<void>;
  /** Time after which the check counts as failed; 5 s unless given. */
  readonly timeoutMs?: number;
}

/** What is known about one check. */
export interface CheckState {
  readonly name: string;
  readonly up: boolean;
  /** Why it is down: a sentence that is safe to show. */
  readonly reason: string | undefined;
}

const DEFAULT_TIMEOUT_MS = 5_000;

interface Outcome {
  readonly reason: string | undefined;
  readonly atMs: number;
}

/** Runs checks in rounds and remembers their outcomes: asking for them never waits for anything. */
export class HealthChecks {
  private readonly outcomes = new Map<string, Outcome>();
  private readonly running = new Set<string>();
  private timer: NodeJS.Timeout | undefined;

  /**
   * @param intervalMs - Time between two rounds. An outcome older than three rounds counts as down: nobody knows any more.
   */
  constructor(
    private readonly checks: readonly HealthCheck[],
    private readonly clock: Clock,
    private readonly intervalMs: number,
  ) {}

  /** Starts a first round and then one every interval. */
  start(): void {
    this.timer ??= setInterval(() => void this.round(), this.intervalMs).unref();
    void this.round();
  }

  /** No further round. */
  stop(): void {
    clearInterval(this.timer);
    this.timer = undefined;
  }

  /** Runs every check that is not running still. Never rejects. */
  async round(): Promise<void> {
    await Promise.all(this.checks.filter(({ name }) => !this.running.has(name)).map((check) => this.run(check)));
  }

  /** The last outcomes, in the order of the checks. */
  states(): readonly CheckState[] {
    return this.checks.map(({ name, timeoutMs }) => {
      const outcome = this.outcomes.get(name);
      const maxAgeMs = 3 * this.intervalMs + (timeoutMs ?? DEFAULT_TIMEOUT_MS);
      const reason =
        outcome === undefined
          ? 'not checked yet'
          : this.clock.monotonicMs() - outcome.atMs > maxAgeMs
            ? 'not checked for too long'
            : outcome.reason;
      return { name, up: reason === undefined, reason };
    });
  }

  /** Whether every check succeeded in its last run. */
  allUp(): boolean {
    return this.states().every(({ up }) => up);
  }

  private async run(check: HealthCheck): Promise<void> {
    this.running.add(check.name);
    const deadline = new AbortController();
    let timer: NodeJS.Timeout | undefined;
    const timedOut = new Promise<string>((resolve) => {
      timer = setTimeout(() => {
        deadline.abort();
        resolve('no answer in time');
      }, check.timeoutMs ?? DEFAULT_TIMEOUT_MS).unref();
    });
    const finished = outcomeOf(check, deadline.signal).finally(() => this.running.delete(check.name));
    const reason = await Promise.race([finished, timedOut]);
    clearTimeout(timer);
    this.outcomes.set(check.name, { reason, atMs: this.clock.monotonicMs() });
  }
}

async function outcomeOf(check: HealthCheck, signal: AbortSignal): Promise<string | undefined> {
  try {
    await check.check(signal);
    return undefined;
  } catch (error) {
    return error instanceof DomainError ? error.message : 'the check failed';
  }
}
