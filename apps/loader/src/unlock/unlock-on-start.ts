import type { UnlockImages } from '@azaion/unlock';

const FIRST_RETRY_MS = 5_000;
const LONGEST_RETRY_MS = 5 * 60_000;

/** Somebody cancelled it; or the new images run badly, and trying them again would stop the services each time. */
const FINAL: readonly (string | null)[] = ['unlock.cancelled', 'unlock.services-unhealthy'];

/** F4 on boot: unlocks by itself, again and again until it worked or somebody cancelled it. It never holds up the start. */
export class UnlockOnStart {
  private timer: NodeJS.Timeout | undefined;
  private retryMs = FIRST_RETRY_MS;
  private stopped = false;

  constructor(
    private readonly unlock: Pick<UnlockImages, 'settled' | 'status'>,
    private readonly start: () => Promise<unknown>,
    private readonly warn: (error: unknown) => void,
    private readonly enabled: boolean,
  ) {}

  /** Begins, when it is enabled; never rejects. */
  async run(): Promise<void> {
    if (!this.enabled) return;
    const isRefused = await this.start().then(
      () => false,
      (error: unknown) => {
        this.warn(error);
        return true;
      },
    );
    await this.unlock.settled();
    const { state, error } = this.unlock.status();
    // After a refusal the state is that of an earlier run, perhaps of an earlier process: it says nothing about this attempt.
    const isOver = !isRefused && (state === 'ready' || FINAL.includes(error));
    if (this.stopped || isOver) return;
    this.timer = setTimeout(() => void this.run(), this.retryMs * (0.5 + Math.random() / 2)).unref();
    this.retryMs = Math.min(this.retryMs * 2, LONGEST_RETRY_MS);
  }

  /** No further attempt. */
  stop(): void {
    this.stopped = true;
    clearTimeout(this.timer);
  }
}
