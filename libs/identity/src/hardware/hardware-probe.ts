/** What a machine says about its parts. Members that it does not tell are left out. Nothing of it is secret, and nothing is proven. */
export interface HardwareFacts {
  /** Of the board: the device tree's, else the firmware's. */
  readonly boardSerial?: string;
  readonly cpuModel?: string;
  /** Features of the processor, separated by blanks. */
  readonly cpuFeatures?: string;
  /** Hardware address of the first wired port that is part of the machine. */
  readonly mac?: string;
  /** Memory that the system has, in KiB. */
  readonly memoryKib?: number;
  readonly gpuModel?: string;
  /** Of the first drive. It travels with the disk, so no key depends on it; the older fingerprint names it. */
  readonly driveSerial?: string;
  /** Whether this is a virtual machine or a container: its parts are somebody's settings. */
  readonly isVirtual: boolean;
}

/** Looks at the machine that this process runs on. */
export abstract class HardwareProbe {
  /**
   * Looks once.
   *
   * @param timeoutMs - Longest time; what has not been told by then is left out.
   */
  abstract facts(timeoutMs: number): Promise<HardwareFacts>;
}
