import type { Caller } from '@azaion/identity';

import type { SparePacks } from '@azaion/split-resource';

import type { HeldResource } from '../session/open-for-caller.js';

/** What was found is shown for this long: looking reads the recipe of every leased version. */
const GOOD_FOR_MS = 15_000;
/** Who looks after the device, or manages all folders. */
const SEES_ALL: ReadonlySet<Caller['role']> = new Set<Caller['role']>(['Operator', 'Admin', 'ApiAdmin']);

const NOTHING: HeldHere = { held: [], unleased: { packs: 0, bytes: 0 } };

/** Whether a caller looks after the device, and so may know who uses it and what failed for whom. @param caller - Verified. */
export function seesAll({ role }: Caller): boolean {
  return SEES_ALL.has(role);
}

/** What lies on this device. */
export interface HeldHere {
  readonly held: readonly HeldResource[];
  /** Packs that no lease needs. */
  readonly unleased: SparePacks;
}

/** What lies on this device, by name where there is a lease, looked up at most now and then however many pages ask. */
export class HeldResources {
  private known: HeldHere | undefined;
  private lookedAtMs = -Infinity;
  private looking: Promise<HeldHere> | undefined;

  /**
   * @param maySee - Whether a caller may know what a folder holds.
   * @param monotonicMs - Time that only goes forwards.
   */
  constructor(
    private readonly look: () => Promise<HeldHere>,
    private readonly maySee: (caller: Caller, folder: string) => boolean,
    private readonly monotonicMs: () => number,
  ) {}

  /**
   * What was found last, as far as the caller may know of it: everything for those who look after devices or manage all folders.
   *
   * @param caller - Verified.
   * @throws as {@link current}.
   */
  async currentFor(caller: Caller): Promise<HeldHere> {
    const { held, unleased } = await this.current();
    return { held: held.filter(({ folder }) => this.maySeeFolder(caller, folder)), unleased };
  }

  /** Whether a caller may know what a folder holds. @param caller - Verified. */
  maySeeFolder(caller: Caller, folder: string): boolean {
    return seesAll(caller) || this.maySee(caller, folder);
  }

  /** What was found last; who asks after a while starts another look and does not wait for it. @throws what the first look throws. */
  async current(): Promise<HeldHere> {
    if (this.monotonicMs() - this.lookedAtMs >= GOOD_FOR_MS) this.looking ??= this.lookAgain();
    return this.known ?? (await this.looking) ?? NOTHING;
  }

  private async lookAgain(): Promise<HeldHere> {
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
