import { type HeldResource } from '../session/open-for-caller.js';

/** What was found is shown for this long: looking reads the recipe of every leased version. */
const GOOD_FOR_MS = 15_000;

/** What lies on this device by name, looked up at most now and then however many pages ask. */
export class HeldResources {
  private known: readonly HeldResource[] | undefined;
  private lookedAtMs = -Infinity;
  private looking: Promise<readonly HeldResource[]> | undefined;

  /** @param monotonicMs - Time that only goes forwards. */
  constructor(
    private readonly look: () => Promise<readonly HeldResource[]>,
    private readonly monotonicMs: () => number,
  ) {}

  /** What was found last; who asks after a while starts another look and does not wait for it. @throws what the first look throws. */
  async current(): Promise<readonly HeldResource[]> {
    if (this.monotonicMs() - this.lookedAtMs >= GOOD_FOR_MS) this.looking ??= this.lookAgain();
    return this.known ?? (await this.looking) ?? [];
  }

  private async lookAgain(): Promise<readonly HeldResource[]> {
    try {
      this.known = await this.look();
      this.lookedAtMs = this.monotonicMs();
      return this.known;
    } catch (error) {
      if (this.known === undefined) throw error;
      return this.known;
    } finally {
      this.looking = undefined;
    }
  }
}
