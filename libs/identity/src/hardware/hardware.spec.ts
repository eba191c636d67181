import { readdirSync, readFileSync } from 'node:fs';

import { legacyHardwareHash } from '@azaion/crypto';

import type { HardwareFacts } from './hardware-probe.js';
import { legacyFingerprint } from './legacy-fingerprint.js';
import { stableComponents } from './stable-components.js';

const FIXTURES = new URL('./fixtures/', import.meta.url);
const machines = readdirSync(FIXTURES).map((file) => ({
  file,
  ...(JSON.parse(readFileSync(new URL(file, FIXTURES), 'utf8')) as { origin: string; facts: HardwareFacts }),
}));
const facts = (file: string): HardwareFacts => machines.find((machine) => machine.file === `${file}.json`)!.facts;
const kindsOf = (machine: HardwareFacts): readonly string[] => stableComponents(machine).map(({ kind }) => kind);

describe('the stable components of a machine', () => {
  it.each(machines.map(({ file, origin }) => [file, origin]))('recording %s says where it comes from', (_, origin) => {
    expect(origin).toMatch(/https:\/\/|Recorded with/);
  });

  it.each(['raspberry-pi-4b', 'raspberry-pi-cm4', 'jetson-nano'])('of a %s are all four', (name) => {
    expect(kindsOf(facts(name))).toEqual(['board', 'processor', 'network-port', 'memory']);
  });

  it('of a container on a virtual machine are too few: its address is made up, its board has no serial', () => {
    expect(kindsOf(facts('build-container'))).toEqual(['processor', 'memory']);
  });

  it('differ in more than one part between two boards of one model', () => {
    const [one, other] = [facts('raspberry-pi-4b'), facts('raspberry-pi-cm4')].map(stableComponents);
    const different = one!.filter(({ kind, value }) => other!.find((part) => part.kind === kind)!.value !== value);
    expect(different.map(({ kind }) => kind)).toEqual(['board', 'network-port']);
  });

  it('never name the drive: it lies with the disk', () => {
    const machine = { ...facts('jetson-nano'), driveSerial: 'S4EVNF0M123456' };
    expect(JSON.stringify(stableComponents(machine))).not.toContain('S4EVNF0M123456');
  });

  // The first is what a real board says of itself: https://github.com/sebhildebrandt/systeminformation/pull/388.
  it.each([
    'To Be Filled By O.E.M.',
    '',
    ' ',
    '-',
    'None',
    'Default string',
    '00000000',
    'Not Specified',
    'xxxxxxxx',
    'FFFFFFFF',
  ])('leave out the board serial %p', (boardSerial) => expect(kindsOf({ boardSerial, isVirtual: false })).toEqual([]));

  it.each(['00:00:00:00:00:00', '02:fc:00:00:00:01', 'fe:ff:ff:ff:ff:ff', '', 'no address'])(
    'leave out the address %p',
    (mac) => expect(kindsOf({ mac, isVirtual: false })).toEqual([]),
  );

  it('take what a maker has filled in, without the spaces around it, in one spelling of the address', () => {
    const machine = { boardSerial: ' 1421021062358 ', mac: ' 48:B0:2D:00:53:01\n', isVirtual: false };
    expect(stableComponents(machine)).toEqual([
      { kind: 'board', value: '1421021062358' },
      { kind: 'network-port', value: '48:b0:2d:00:53:01' },
    ]);
    expect(stableComponents({ boardSerial: '12'.repeat(5000), isVirtual: false })[0]?.value).toHaveLength(4096);
  });

  it('count memory in whole GiB, so that an update which keeps some for itself changes nothing', () => {
    const memory = (memoryKib: number): string | undefined =>
      stableComponents({ memoryKib, isVirtual: false })[0]?.value;
    expect(memory(7_620_416)).toBe('8 GiB');
    expect(memory(7_998_708)).toBe('8 GiB');
    expect(memory(8 * 1024 ** 2)).toBe('8 GiB');
    expect(memory(8 * 1024 ** 2 + 1)).toBe('9 GiB');
    expect(memory(0)).toBeUndefined();
  });

  it.each([
    [{ cpuModel: 'ARMv8', cpuFeatures: 'fp asimd' }, 'ARMv8; asimd fp'],
    [{ cpuModel: 'ARMv8', cpuFeatures: ' ' }, 'ARMv8'],
    [{ cpuModel: 'ARMv8' }, 'ARMv8'],
    [{ cpuModel: '', cpuFeatures: 'fp' }, 'fp'],
    [{ cpuFeatures: 'fp' }, 'fp'],
    [{}, undefined],
  ])('say of the processor %j: %p', (processor, value) => {
    expect(stableComponents({ ...processor, isVirtual: false })[0]?.value).toBe(value);
  });

  it('do not depend on the order in which a processor names its features', () => {
    const [one, other] = ['fp asimd crc32', ' crc32  fp asimd '].map((cpuFeatures) =>
      stableComponents({ cpuFeatures, isVirtual: false }),
    );
    expect(one).toEqual(other);
  });
});

describe('legacyFingerprint', () => {
  const vectors = JSON.parse(
    readFileSync(new URL('../../../crypto/src/legacy/fixtures/legacy-v1.json', import.meta.url), 'utf8'),
  ) as { inputs: { fingerprint: string }; derivations: { hardwareHash: string } };

  it('is the line of the vectors, and leads to their hash', () => {
    const line = legacyFingerprint({
      cpuModel: 'ARMv8 Processor rev 1 (v8l)',
      gpuModel: 'NVIDIA Tegra',
      memoryKib: 7_620_416,
      driveSerial: 'S4EVNF0M123456',
      isVirtual: false,
    });
    expect(line).toBe(vectors.inputs.fingerprint);
    expect(legacyHardwareHash(line)).toBe(vectors.derivations.hardwareHash);
  });

  it('leaves out what the machine does not tell', () => {
    expect(legacyFingerprint({ isVirtual: true })).toBe('CPU: . GPU: . Memory: . DriveSerial: ');
  });
});
