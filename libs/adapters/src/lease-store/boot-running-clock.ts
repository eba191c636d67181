import { readFile } from 'node:fs/promises';
import { uptime } from 'node:os';

import { type ClockReading, RunningClock } from '@azaion/split-resource';

const BOOT_ID = '/proc/sys/kernel/random/boot_id';

/** The time since this machine was switched on, asleep included: tells how long a restarted process was away. It ends with the power. */
export class BootRunningClock extends RunningClock {
  override readonly isLasting = false;

  /** @param bootIdFile - What is different after every boot; where there is no such file, nothing is known across restarts. */
  constructor(private readonly bootIdFile = BOOT_ID) {
    super();
  }

  override async read(): Promise<ClockReading> {
    const boot = await readFile(this.bootIdFile, 'utf8').catch(() => undefined);
    const era = boot === undefined ? undefined : `boot ${boot.trim()}`;
    return { elapsedMs: Math.floor(uptime() * 1000), era, isExact: true };
  }
}
