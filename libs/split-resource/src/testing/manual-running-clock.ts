import { type ClockReading, RunningClock } from '../ports/running-clock.js';

/** A clock that runs when a test says so. */
export class ManualRunningClock extends RunningClock {
  override isLasting = false;
  elapsedMs = 1_000_000_000;
  era: string | undefined = 'manual';
  isExact = true;

  override read(): Promise<ClockReading> {
    const { elapsedMs, era, isExact } = this;
    return Promise.resolve({ elapsedMs, era, isExact });
  }
}
