import type { HardwareFacts } from './hardware-probe.js';

/** Parts of a machine that do not lie with its disk and stay the same over years. */
export const COMPONENT_KINDS = ['board', 'processor', 'network-port', 'memory'] as const;
/** Those that differ between two machines of one model. */
export const UNIT_KINDS: readonly ComponentKind[] = ['board', 'network-port'];
/** One of {@link COMPONENT_KINDS}. */
export type ComponentKind = (typeof COMPONENT_KINDS)[number];

/** One part, as it takes part in a key. */
export interface HardwareComponent {
  readonly kind: ComponentKind;
  readonly value: string;
}

const KIB_PER_GIB = 1024 ** 2;
const MAX_VALUE_CHARS = 4096;
/** What makers leave in a field that they did not fill. */
const FILLER =
  /^(?:-|none|n\/a|unknown|default(?: string)?|not (?:specified|available|applicable|present)|to be filled by o\.?e\.?m\.?|system serial number|o\.?e\.?m\.?|serial number|[0.x ]+|123456789|(.)\1*)$/i;
const MAC = /^(?:[0-9a-f]{2}:){5}[0-9a-f]{2}$/;
const LOCALLY_ADMINISTERED = 0x02;

/**
 * The parts that a key may depend on. The root drive is not among them: whoever copies a disk has its serial. Fields that a maker left
 * unfilled and addresses that software made up are left out.
 */
export function stableComponents(facts: HardwareFacts): readonly HardwareComponent[] {
  const { cpuModel = '', cpuFeatures = '', memoryKib = 0 } = facts;
  const features = cpuFeatures.split(/\s+/).filter(Boolean).sort().join(' ');
  const values: Readonly<Record<ComponentKind, string | undefined>> = {
    board: filled(facts.boardSerial),
    processor: filled([cpuModel, features].filter(Boolean).join('; ')),
    'network-port': ownAddress(facts.mac),
    // What firmware and kernel keep for themselves changes with updates; what is built in is the next whole GiB.
    memory: memoryKib <= 0 ? undefined : `${Math.ceil(memoryKib / KIB_PER_GIB)} GiB`,
  };
  return COMPONENT_KINDS.flatMap((kind) => {
    const value = values[kind];
    return value === undefined ? [] : [{ kind, value }];
  });
}

function filled(value = ''): string | undefined {
  const text = value.trim().slice(0, MAX_VALUE_CHARS);
  return text === '' || FILLER.test(text) ? undefined : text;
}

function ownAddress(mac = ''): string | undefined {
  const address = mac.trim().toLowerCase();
  if (!MAC.test(address) || /^(?:00:){5}00$/.test(address)) return undefined;
  return (Number.parseInt(address.slice(0, 2), 16) & LOCALLY_ADMINISTERED) === 0 ? address : undefined;
}
