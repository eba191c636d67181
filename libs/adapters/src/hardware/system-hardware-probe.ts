import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

import { type HardwareFacts, HardwareProbe } from '@azaion/identity';
import {
  baseboard,
  cpu,
  cpuFlags,
  diskLayout,
  graphics,
  mem,
  networkInterfaces,
  system,
  type Systeminformation,
} from 'systeminformation';

const BYTES_PER_KIB = 1024;
/** Ports that are plugged in, or made by software, under names that kernels and NVIDIA's images give them. */
const PASSING_PORT = /^(?:usb|rndis|enx|l4tbr|docker|br-|veth|virbr|bond|dummy|wl)/;

/**
 * Looks at the machine through the `systeminformation` package and, on boards such as the Jetson, the device tree, which knows the
 * module's serial where there is no firmware table.
 */
export class SystemHardwareProbe extends HardwareProbe {
  /** @param deviceTree - Where the kernel shows the device tree. */
  constructor(private readonly deviceTree = '/proc/device-tree') {
    super();
  }

  override async facts(timeoutMs: number): Promise<HardwareFacts> {
    const late = new AbortController();
    const inTime = <T>(ask: () => Promise<T>): Promise<T | undefined> =>
      Promise.race([
        ask().catch(() => undefined),
        new Promise<undefined>((resolve) => late.signal.addEventListener('abort', () => resolve(undefined))),
      ]);
    const timer = setTimeout(() => late.abort(), timeoutMs);
    try {
      const [tree, board, machine, processor, flags, ports, memory, pictures, drives] = await Promise.all([
        inTime(() => this.property('serial-number')),
        inTime(baseboard),
        inTime(system),
        inTime(cpu),
        inTime(cpuFlags),
        inTime(() => networkInterfaces(true)),
        inTime(mem),
        inTime(graphics),
        inTime(diskLayout),
      ]);
      const model = processor && `${processor.manufacturer} ${processor.brand}`.trim();
      return defined({
        boardSerial: firstTold(tree, board?.serial, machine?.serial),
        cpuModel: firstTold(model),
        cpuFeatures: firstTold(flags),
        mac: firstPort(ports),
        memoryKib: memory && Math.round(memory.total / BYTES_PER_KIB),
        gpuModel: firstTold(pictures?.controllers[0]?.model),
        driveSerial: firstTold(drives?.[0]?.serialNum),
        isVirtual: machine?.virtual === true,
      });
    } finally {
      clearTimeout(timer);
    }
  }

  /** Properties end with a NUL. */
  private async property(name: string): Promise<string> {
    return (await readFile(join(this.deviceTree, name), 'latin1')).replace(/\0.*$/s, '').trim();
  }
}

function firstTold(...values: readonly (string | undefined)[]): string | undefined {
  return values.find((value) => value !== undefined && value.trim() !== '' && value.trim() !== '-');
}

function firstPort(found: readonly Systeminformation.NetworkInterfacesData[] | undefined): string | undefined {
  const isBuiltIn = ({ iface, internal, virtual, type }: Systeminformation.NetworkInterfacesData): boolean =>
    !internal && !virtual && type === 'wired' && !PASSING_PORT.test(iface);
  return (found ?? []).filter(isBuiltIn).toSorted((a, b) => a.iface.localeCompare(b.iface))[0]?.mac;
}

function defined(facts: {
  readonly [Member in keyof HardwareFacts]: HardwareFacts[Member] | undefined;
}): HardwareFacts {
  return Object.fromEntries(
    Object.entries(facts).filter(([, value]) => value !== undefined),
  ) as unknown as HardwareFacts;
}
