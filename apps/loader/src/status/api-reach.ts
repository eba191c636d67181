import { type HealthCheck } from '@azaion/nest-support';
import { ResourceError } from '@azaion/split-resource';

/** Whether the Admin API can be reached, as the readiness probe found it last. */
export class ApiReach {
  private reached = true;

  /**
   * @param ask - Rejects when the Admin API does not answer.
   * @param mayServe - Whether there is something to serve without it.
   */
  constructor(
    private readonly ask: () => Promise<unknown>,
    private readonly mayServe: () => Promise<boolean>,
  ) {}

  /** For `/status`. */
  readonly isOffline = (): boolean => !this.reached;

  /** Up when the Admin API answers or a lease holds. */
  get check(): HealthCheck {
    return { name: 'admin-api', check: () => this.run() };
  }

  private async run(): Promise<void> {
    const asking = this.ask();
    try {
      await withinMs(asking, ANSWER_MS);
      this.reached = true;
    } catch (error) {
      this.reached = false;
      if (!(await this.mayServe())) throw error;
    }
  }
}

/** Shorter than a health check lasts, so that a lease still counts. */
const ANSWER_MS = 4_000;

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
