import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { DeviceStateKey } from '@azaion/identity';
import { InMemoryDeviceIdentity } from '@azaion/identity/testing';
import { ManualClock } from '@azaion/kernel';
import { TrustedTime } from '@azaion/split-resource';
import { describeWith, type SoftwareTpm, startSoftwareTpm, type TempDirectory, tempDirectory } from '@azaion/testing';

import { FileTimeMarkStore } from '../lease-store/index.js';
import { TpmRunningClock } from './tpm-running-clock.js';

const SIGNED = 1_800_000_000;
const WEEK_MS = 7 * 86_400_000;

describeWith('tpm', 'TpmRunningClock', () => {
  let tpm: SoftwareTpm;
  let directory: TempDirectory;
  let running: TpmRunningClock;
  /** What would take a week: the owner of a TPM may set its clock ahead, nobody may set it back. */
  const aWeekPasses = async (): Promise<void> => {
    const { elapsedMs } = await running.read();
    await tpm.tool('setclock', '-c', 'o', String(elapsedMs + WEEK_MS));
  };

  beforeAll(async () => {
    tpm = await startSoftwareTpm();
    directory = await tempDirectory();
    running = await TpmRunningClock.open({ tcti: tpm.tcti, timeoutMs: 20_000 }, directory.path);
  });
  afterAll(async () => {
    await running.close();
    await tpm.remove();
    await directory.remove();
  });

  it('goes on where it stopped when the machine is switched on again, and admits when the power was cut', async () => {
    const before = await running.read();
    await aWeekPasses();
    await tpm.tool('shutdown'); // as the system does before the power goes
    await tpm.restart();
    const after = await running.read();
    expect(after).toMatchObject({ era: before.era, isExact: true });
    expect(after.elapsedMs).toBeGreaterThanOrEqual(before.elapsedMs + WEEK_MS);
    await tpm.restart();
    expect((await running.read()).isExact).toBe(false);
  });

  it('ages a mark of the time that was put back: what had ended stays ended', async () => {
    const path = join(directory.path, 'time-mark');
    const store = new FileTimeMarkStore(path, await DeviceStateKey.of(await InMemoryDeviceIdentity.create()));
    const clock = new ManualClock(SIGNED * 1000);
    const open = (): Promise<TrustedTime> => TrustedTime.open(store, clock, { running, expectsMark: true });
    const first = await TrustedTime.open(store, clock, { running });
    first.confirm(SIGNED);
    await first.keepFirst();
    const old = await readFile(path, 'utf8');
    await aWeekPasses();
    await (await open()).write();
    await writeFile(path, old);
    clock.setWall(0);
    const restored = await open();
    expect(restored.isCertain).toBe(true);
    expect(restored.effectiveMs()).toBeGreaterThanOrEqual(SIGNED * 1000 + WEEK_MS);
  });

  it('says that there is no TPM where none answers', async () => {
    const tcti = `swtpm:path=${join(directory.path, 'no-socket')}`;
    const clock = await TpmRunningClock.open({ tcti, timeoutMs: 20_000 }, directory.path);
    await expect(clock.read()).rejects.toMatchObject({ code: 'device.tpm-absent' });
    await clock.close();
  });
});
