import { chmod, cp, mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import type { HardwareFacts } from '@azaion/identity';
import { describeDeviceIdentity, FixedHardwareProbe } from '@azaion/identity/testing';
import { type TempDirectory, tempDirectory } from '@azaion/testing';

import { HardwareDeviceIdentity, whyNoHardwareBinding } from './hardware-device-identity.js';
import { SystemHardwareProbe } from './system-hardware-probe.js';

/** Cheap: what a guess costs is not what is tested. */
const COST = { memoryKib: 64, passes: 1 };
const MACHINE: HardwareFacts = {
  boardSerial: '1421021062358',
  cpuModel: 'ARMv8 Processor rev 1 (v8l)',
  cpuFeatures: 'fp asimd evtstrm',
  mac: '00:00:5e:00:53:01',
  memoryKib: 7_620_416,
  isVirtual: false,
};
const OTHER: HardwareFacts = {
  boardSerial: '1421021099999',
  cpuModel: 'Cortex-A78AE',
  cpuFeatures: 'fp asimd',
  mac: '00:00:5e:00:53:02',
  memoryKib: 15_620_416,
  isVirtual: false,
};
const PARTS: readonly (readonly (keyof HardwareFacts)[])[] = [['boardSerial'], ['cpuModel'], ['mac'], ['memoryKib']];

describe('HardwareDeviceIdentity', () => {
  let directory: TempDirectory;
  let made = 0;
  let log: string[];
  beforeEach(async () => {
    directory = await tempDirectory();
    log = [];
  });
  afterEach(() => directory.remove());

  const place = (): string => join(directory.path, `${String(made++)}.json`);
  const opened = (path: string, machine = MACHINE): Promise<HardwareDeviceIdentity> =>
    HardwareDeviceIdentity.open({
      path,
      probe: new FixedHardwareProbe(machine),
      probeTimeoutMs: 1000,
      log: (message) => log.push(message),
      cost: COST,
    });
  const changedIn = (...members: readonly (keyof HardwareFacts)[]): HardwareFacts => ({
    ...MACHINE,
    ...Object.fromEntries(members.map((member) => [member, OTHER[member]])),
  });

  describeDeviceIdentity('HardwareDeviceIdentity', () => opened(place()));

  it.each(PARTS)('opens after %s was replaced, heals, and survives the next replacement', async (part) => {
    const path = place();
    const point = await (await opened(path)).agreementPoint();
    expect(await (await opened(path, changedIn(part))).agreementPoint()).toEqual(point);
    expect(log).toEqual([expect.stringContaining('was replaced')]);
    const next = PARTS.find(([other]) => other !== part)![0]!;
    expect(await (await opened(path, changedIn(part, next))).agreementPoint()).toEqual(point);
    expect(log).toHaveLength(2);
    await opened(path, changedIn(part, next));
    expect(log).toHaveLength(2); // healed
  });

  it('does not open after two were replaced at once, and leaves the file for the day when one is put back', async () => {
    const path = place();
    const point = await (await opened(path)).agreementPoint();
    const before = await readFile(path, 'utf8');
    for (const [one] of PARTS)
      for (const [other] of PARTS)
        if (one! < other!)
          await expect(opened(path, changedIn(one!, other!))).rejects.toMatchObject({
            code: 'device.hardware-changed',
          });
    expect(await readFile(path, 'utf8')).toBe(before);
    expect(await (await opened(path, changedIn('mac'))).agreementPoint()).toEqual(point);
  });

  it('does not open a copied disk on another machine, even with the same processor and memory', async () => {
    const path = place();
    await opened(path);
    const copy = place();
    await cp(path, copy);
    await expect(opened(copy, OTHER)).rejects.toMatchObject({ code: 'device.hardware-changed' });
    await expect(opened(copy, changedIn('boardSerial', 'mac'))).rejects.toMatchObject({
      code: 'device.hardware-changed',
    });
  });

  it('takes in a part that the machine names only later', async () => {
    const path = place();
    const silent = { ...MACHINE, memoryKib: 0 };
    const point = await (await opened(path, silent)).agreementPoint();
    expect(await (await opened(path)).agreementPoint()).toEqual(point);
    expect(log).toEqual([expect.stringContaining('more of its parts')]);
    expect(await (await opened(path, changedIn('mac'))).agreementPoint()).toEqual(point);
  });

  it.each(['boardSerial', 'mac'] as const)(
    'makes no keys without the %s: all other parts but one are those of any machine of the model',
    async (part) => {
      const path = place();
      const machine = { ...MACHINE, [part]: '-' };
      await expect(opened(path, machine)).rejects.toMatchObject({
        code: 'device.hardware-unknown',
        message: expect.stringContaining('like any other of its model') as string,
      });
      await expect(stat(path)).rejects.toMatchObject({ code: 'ENOENT' });
    },
  );

  it.each(['boardSerial', 'mac'] as const)(
    'is not tied anew to what is left when the %s is not named any more, so that a copy opens on no machine of the model',
    async (part) => {
      const path = place();
      const point = await (await opened(path)).agreementPoint();
      const before = await readFile(path, 'utf8');
      expect(await (await opened(path, { ...MACHINE, [part]: '-' })).agreementPoint()).toEqual(point);
      expect(log).toEqual([expect.stringContaining('any more')]);
      expect(await readFile(path, 'utf8')).toBe(before);
      const sameModel = { ...changedIn('boardSerial', 'mac'), [part]: '-' };
      await expect(opened(path, sameModel)).rejects.toMatchObject({ code: 'device.hardware-changed' });
    },
  );

  it('makes no keys on a machine that names too few parts', async () => {
    const machine = { cpuModel: 'Xeon', memoryKib: 1024, isVirtual: true };
    await expect(opened(place(), machine)).rejects.toMatchObject({ code: 'device.hardware-unknown' });
  });

  it('keeps the file for its owner only, and refuses one that others may read', async () => {
    const path = place();
    await opened(path);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    await opened(path, changedIn('mac')); // healing keeps it so
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    await chmod(path, 0o644);
    await expect(opened(path)).rejects.toMatchObject({ code: 'device.key-store' });
  });

  it('refuses a damaged file and leaves it', async () => {
    const path = place();
    await opened(path);
    const whole = await readFile(path, 'utf8');
    const { sealed } = JSON.parse(whole) as { sealed: string };
    const changed = whole.replace(sealed, (sealed.startsWith('A') ? 'B' : 'A') + sealed.slice(1));
    for (const text of [
      '',
      '{}',
      'null',
      '[]',
      whole.slice(0, -2),
      whole.replace('"format":1', '"format":2'),
      changed,
    ]) {
      await writeFile(path, text);
      await expect(opened(path)).rejects.toMatchObject({ code: expect.stringMatching(/key-store|changed/) as string });
      expect(await readFile(path, 'utf8')).toBe(text);
    }
  });
});

describe('whyNoHardwareBinding', () => {
  const why = (machine: HardwareFacts): Promise<string | undefined> =>
    whyNoHardwareBinding(new FixedHardwareProbe(machine), 1000);

  it('says nothing of a machine with parts of its own', async () => {
    expect(await why(MACHINE)).toBeUndefined();
  });

  it('names what stands in the way', async () => {
    expect(await why({ ...MACHINE, isVirtual: true })).toContain('virtual machine');
    expect(await why({ mac: MACHINE.mac!, isVirtual: false })).toContain('only 1 of its parts (network-port)');
    expect(await why({ isVirtual: false })).toContain('(none)');
    expect(await why({ ...MACHINE, boardSerial: '-' })).toContain('does not name its board');
    expect(await why({ ...MACHINE, mac: '-' })).toContain('does not name its network-port');
  });
});

describe('SystemHardwareProbe', () => {
  it('looks at this machine', async () => {
    const facts = await new SystemHardwareProbe().facts(30_000);
    expect(typeof facts.isVirtual).toBe('boolean');
    expect(facts.memoryKib).toBeGreaterThan(0);
  });

  it("prefers the device tree's serial, without the NUL at its end", async () => {
    const tree = await tempDirectory();
    await mkdir(tree.path, { recursive: true });
    await writeFile(join(tree.path, 'serial-number'), '1421021062358\0');
    expect(await new SystemHardwareProbe(tree.path).facts(30_000)).toMatchObject({ boardSerial: '1421021062358' });
    await tree.remove();
  });

  it('leaves out what is not told in time', async () => {
    const { memoryKib, cpuFeatures, isVirtual } = await new SystemHardwareProbe().facts(0);
    expect({ memoryKib, cpuFeatures, isVirtual }).toEqual({ isVirtual: false });
  });
});
