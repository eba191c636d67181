import type { HealthCheck } from '@azaion/nest-support';
import { ResourceError } from '@azaion/split-resource';

const ANSWER_MS = 4_000;
/** Longer than the answer: whether a lease holds is looked up after it. */
const CHECK_MS = 15_000;
/** How long an answer of an Admin API that was found out of reach is waited for, where nothing at hand can take its place. */
const LOST_PATIENCE_MS = 5_000;

/** Whether the Admin API can be reached, as the readiness probe found it last. */
export class ApiReach {
  private reached = true;
  /** Who waits for an answer. */
  private readonly waiting = new Set<LostPatience>();

  /**
   * @param ask - Rejects when the Admin API does not answer.
   * @param mayServe - Whether there is something to serve without it.
   * @param tell - Told of every outcome.
   * @param patienceMs - For tests.
   */
  constructor(
    private readonly ask: () => Promise<unknown>,
    private readonly mayServe: () => Promise<boolean>,
    private readonly tell: (reached: boolean) => void,
    private readonly patienceMs = LOST_PATIENCE_MS,
  ) {}

  /** For `/status`. */
  readonly isOffline = (): boolean => !this.reached;

  /**
   * Waits for an answer of the Admin API as long as that can be reached. Once it was found out of reach, {@link LOST_PATIENCE_MS} more at most: a
   * connection that brings nothing would hold the caller for half a minute.
   *
   * @throws ResourceError `api.unreachable`; what `answer` throws.
   */
  async whileReached<Answer>(answer: Promise<Answer>): Promise<Answer> {
    const patience = new LostPatience(this.patienceMs);
    if (!this.reached) patience.start();
    this.waiting.add(patience);
    try {
      return await Promise.race([answer, patience.ended]);
    } finally {
      this.waiting.delete(patience);
      patience.stop();
    }
  }

  /** Up when the Admin API answers or a lease holds. */
  get check(): HealthCheck {
    return { name: 'admin-api', check: () => this.run(), timeoutMs: CHECK_MS };
  }

  private async run(): Promise<void> {
    const asking = this.ask();
    try {
      await withinMs(asking, ANSWER_MS);
      this.learn(true);
    } catch (error) {
      this.learn(false);
      if (!(await this.mayServe())) throw error;
    }
  }

  private learn(reached: boolean): void {
    this.reached = reached;
    for (const patience of this.waiting) {
      if (reached) patience.stop();
      else patience.start();
    }
    this.tell(reached);
  }
}

/** The end of somebody's patience, once it has begun to run out. */
class LostPatience {
  /** Never resolves. */
  readonly ended: Promise<never>;
  private timer: NodeJS.Timeout | undefined;
  private readonly end: (reason: Error) => void;

  constructor(private readonly patienceMs: number) {
    const { promise, reject } = Promise.withResolvers<never>();
    this.ended = promise;
    this.end = reject;
  }

  start(): void {
    this.timer ??= setTimeout(
      () =>
        this.end(
          new ResourceError(
            'api.unreachable',
            'The Admin API is out of reach, and nothing on this device may take its place for you: try again when the network is back.',
          ),
        ),
      this.patienceMs,
    );
  }

  stop(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
  }
}

async function withinMs(asking: Promise<unknown>, limitMs: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const waited = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new ResourceError('api.unreachable', 'The Admin API does not answer.')), limitMs);
  });
  try {
    await Promise.race([asking, waited]);
  } finally {
    clearTimeout(timer);
  }
}
