/** Downloads that run at once on a good link. */
export const MOST_DOWNLOADS = 8;
/** Weight of the newest download in the pace. */
const NEWEST_WEIGHT = 0.25;

interface Waiter {
  readonly enter: () => void;
  readonly signal: AbortSignal;
}

/**
 * How many downloads run at once over all reads of a device, and how fast they are. A link that fails is asked for half as much, and for one
 * more after as many successes as run at once: additive increase, multiplicative decrease, as in TCP (RFC 5681).
 */
export class DownloadSlots {
  private limit: number;
  private running = 0;
  private successes = 0;
  private bytesPerMs = 0;
  private readonly waiting: Waiter[] = [];

  /** @param most - Most downloads at once, 1 or more. */
  constructor(private readonly most = MOST_DOWNLOADS) {
    this.limit = most;
  }

  /** Downloads that may run at once at present. */
  get current(): number {
    return this.limit;
  }

  /** Waits for a slot. Give it back once. @throws The signal's reason as soon as it is aborted. */
  async take(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.takeIfFree()) return;
    await new Promise<void>((resolve, reject) => {
      const leave = (): void => {
        this.waiting.splice(this.waiting.indexOf(waiter), 1);
        reject(signal.reason as Error);
      };
      const enter = (): void => {
        signal.removeEventListener('abort', leave);
        resolve();
      };
      const waiter = { enter, signal };
      this.waiting.push(waiter);
      signal.addEventListener('abort', leave, { once: true });
    });
  }

  /** Takes a slot when one is free and nobody waits for it. */
  takeIfFree(): boolean {
    if (this.running >= this.limit || this.waiting.length > 0) return false;
    this.running++;
    return true;
  }

  /** Gives a slot back. */
  giveBack(): void {
    this.running--;
    this.admit();
  }

  /** A download brought bytes over one connection. */
  succeeded(bytes: number, durationMs: number): void {
    const pace = bytes / Math.max(1, durationMs);
    this.bytesPerMs = this.bytesPerMs === 0 ? pace : this.bytesPerMs + NEWEST_WEIGHT * (pace - this.bytesPerMs);
    if (++this.successes < this.limit) return;
    this.successes = 0;
    this.limit = Math.min(this.most, this.limit + 1);
    this.admit();
  }

  /** A download failed in a way that may pass. */
  failed(): void {
    this.successes = 0;
    this.limit = Math.max(1, Math.floor(this.limit / 2));
  }

  /** How long one connection takes for so many bytes, going by those before it; `undefined` while there were none. */
  expectedMs(bytes: number): number | undefined {
    return this.bytesPerMs === 0 ? undefined : bytes / this.bytesPerMs;
  }

  private admit(): void {
    while (this.running < this.limit) {
      const next = this.waiting.shift();
      if (next === undefined) return;
      this.running++;
      next.enter();
    }
  }
}
