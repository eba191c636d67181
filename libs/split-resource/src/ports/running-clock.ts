/** How long something has run that the time of this device is measured by. */
export interface ClockReading {
  /** Milliseconds since some moment of the {@link era}. */
  readonly elapsedMs: number;
  /** Readings of one era can be subtracted from each other; `undefined` when nothing is known of other readings. */
  readonly era: string | undefined;
  /** Whether it has certainly not gone back since the reading before it, for a power cut for instance. */
  readonly isExact: boolean;
}

/** A clock that nobody sets, to measure by how long this machine has run since an earlier start. */
export abstract class RunningClock {
  /** Whether its era never ends, so that a mark without a reading of it was not made here. */
  abstract readonly isLasting: boolean;

  /** @throws DomainError when it cannot be read at present. */
  abstract read(): Promise<ClockReading>;
}

/** For machines that have none: nothing is known across restarts. */
export class NoRunningClock extends RunningClock {
  override readonly isLasting = false;

  override read(): Promise<ClockReading> {
    return Promise.resolve({ elapsedMs: 0, era: undefined, isExact: false });
  }
}
