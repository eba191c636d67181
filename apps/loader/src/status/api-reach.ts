import { type HealthCheck } from '@azaion/nest-support';
import { ResourceError } from '@azaion/split-resource';

const ANSWER_MS = 4_000;
/** Longer than the answer: whether a lease holds is looked up after it. */
const CHECK_MS = 15_000;

/** Whether the Admin API can be reached, as the readiness probe found it last. */
export class ApiReach {
  private reached = true;

  /**
   * @param ask - Rejects when the Admin API does not answer.
   * @param mayServe - Whether there is something to serve without it.
   * @param tell - Told of every outcome.
   */
  constructor(
    private readonly ask: () => Promise<unknown>,
    private readonly mayServe: () => Promise<boolean>,
    private readonly tell: (reached: boolean) => void,
  ) {}

  /** For `/status`. */
  readonly isOffline = (): boolean => !this.reached;

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
    this.tell(reached);
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
