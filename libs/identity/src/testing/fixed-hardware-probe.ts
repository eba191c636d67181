import { type HardwareFacts, HardwareProbe } from '../hardware/hardware-probe.js';

/** A machine that says what it is told to. */
export class FixedHardwareProbe extends HardwareProbe {
  constructor(public machine: HardwareFacts) {
    super();
  }

  override facts(): Promise<HardwareFacts> {
    return Promise.resolve(this.machine);
  }
}
