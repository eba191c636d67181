import { type Caller } from '@azaion/identity';

import { type HeldResource } from '../session/open-for-caller.js';

/** What was found is shown for this long: looking reads the recipe of every leased version. */
const GOOD_FOR_MS = 15_000;
/** Who looks after the device, or manages all folders. */
const SEES_ALL: ReadonlySet<Caller['role']> = new Set<Caller['role']>(['Operator', 'Admin', 'ApiAdmin']);

/** Whether a caller looks after the device, and so may know who uses it and what failed for whom. @param caller - Verified. */
export function seesAll({ role }: Caller): boolean {
  return SEES_ALL.has(role);
}

/** What lies on this device by name, looked up at most now and then however many pages ask. */
export class HeldResources {
  private known: readonly HeldResource[] | undefined;
  private lookedAtMs = -Infinity;
  private looking: Promise<readonly HeldResource[]> | undefined;

  /**
   * @param maySee - Whether a caller may know what a folder holds.
   * @param monotonicMs - Time that only goes forwards.
   */
  constructor(
    private readonly look: () => Promise<readonly HeldResource[]>,
    private readonly maySee: (caller: Caller, folder: string) => boolean,
    private readonly monotonicMs: () => number,
  ) {}

  /**
   * What was found last, as far as the caller may know of it: everything for those who look after devices or manage all folders.
   *
   * @param caller - Verified.
   * @throws as {@link current}.
   */
  async currentFor(caller: Caller): Promise<readonly HeldResource[]> {
    const held = await this.current();
    return held.filter(({ folder }) => this.maySeeFolder(caller, folder));
  }

  /** Whether a caller may know what a folder holds. @param caller - Verified. */
  maySeeFolder(caller: Caller, folder: string): boolean {
    return seesAll(caller) || this.maySee(caller, folder);
  }

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
