import type { HardwareFacts } from './hardware-probe.js';

/**
 * The line by which the older system knew a machine. Only an Admin API that still asks for it sees it; no key of this system depends on it.
 * Source: docs/formats/legacy.md.
 */
export function legacyFingerprint({ cpuModel, gpuModel, memoryKib, driveSerial }: HardwareFacts): string {
  return `CPU: ${cpuModel ?? ''}. GPU: ${gpuModel ?? ''}. Memory: ${String(memoryKib ?? '')}. DriveSerial: ${driveSerial ?? ''}`;
}
