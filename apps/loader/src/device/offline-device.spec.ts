import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { DeviceStateKey } from '@azaion/identity';
import { InMemoryDeviceIdentity } from '@azaion/identity/testing';
import { ManualClock, Secret } from '@azaion/kernel';
import { type HeldLease, type HeldLeases, TrustedTime } from '@azaion/split-resource';
import { InMemoryTimeMarkStore } from '@azaion/split-resource/testing';
import { tempDirectory } from '@azaion/testing';

import { OfflineDevice } from './offline-device.js';

const NOW_SECONDS = 1_800_000_000;
const ACCOUNT = { serial: 'azj-0001', email: 'azj-0001@azaion.com', password: new Secret('0123456789abcdef') };

let directory: Awaited<ReturnType<typeof tempDirectory>>;
let clock: ManualClock;
let identity: InMemoryDeviceIdentity;
/** Ends of the leases that hold, seconds since 1970. */
let ends: number[];

async function opened(of: InMemoryDeviceIdentity = identity): Promise<OfflineDevice> {
  const held = (): HeldLease[] => ends.map((notAfter) => ({ token: { notAfter } }) as HeldLease);
  const leases = { all: () => Promise.resolve(held()), patienceMs: () => 0 } as Partial<HeldLeases> as HeldLeases;
  return OfflineDevice.open({
    account: ACCOUNT,
    dataDirectory: directory.path,
    key: await DeviceStateKey.of(of),
    leases,
    time: await TrustedTime.open(new InMemoryTimeMarkStore(), clock),
  });
}

beforeEach(async () => {
  directory = await tempDirectory('offline');
  clock = new ManualClock(NOW_SECONDS * 1000);
  identity = await InMemoryDeviceIdentity.create();
  ends = [NOW_SECONDS + 86_400];
});
afterEach(() => directory.remove());

const logIn = async (device: OfflineDevice, email = ACCOUNT.email, password = ACCOUNT.password): Promise<boolean> =>
  (await device.logIn(email, password)) !== undefined;

describe('OfflineDevice', () => {
  it("lets the device's own credentials in once the Admin API has accepted the device, also after a restart", async () => {
    const device = await opened();
    expect(await logIn(device)).toBe(false);
    await device.remember();
    expect(await logIn(device)).toBe(true);
    expect(await logIn(await opened())).toBe(true);
  });

  it('lets nobody else in', async () => {
    const device = await opened();
    await device.remember();
    for (const [email, password] of [
      [ACCOUNT.email, ''],
      [ACCOUNT.email, '0123456789abcdeF'],
      [ACCOUNT.email.toUpperCase(), '0123456789abcdef'],
      ['root@azaion.com', '0123456789abcdef'],
      [`${ACCOUNT.email}","0`, '123456789abcdef'],
    ] as const)
      expect(await logIn(device, email, new Secret(password))).toBe(false);
  });

  it('lets nobody in when no lease holds', async () => {
    const device = await opened();
    await device.remember();
    ends = [];
    expect(await device.holdsLease()).toBe(false);
    expect(await logIn(device)).toBe(false);
  });

  it('gives a token for the life of the last lease at most', async () => {
    ends = [NOW_SECONDS + 10, NOW_SECONDS + 60];
    const bearer = await (await opened()).bearer();
    expect(bearer).toMatchObject({ expiresInSeconds: 60, caller: { expiresAt: NOW_SECONDS + 60, local: true } });
    ends = [NOW_SECONDS + 86_400];
    expect(await (await opened()).bearer()).toMatchObject({ expiresInSeconds: 900 });
  });

  it('knows its tokens again after a restart, and not those of a device whose directory was copied here', async () => {
    const token = (await (await opened()).bearer())?.token ?? '';
    await expect((await opened()).tokens.verify(token)).resolves.toMatchObject({ deviceSerial: 'azj-0001' });
    const stranger = await opened(await InMemoryDeviceIdentity.create());
    await expect(stranger.tokens.verify(token)).rejects.toMatchObject({ code: 'token.invalid' });
  });

  it('takes no verifier that was copied or made up', async () => {
    await (await opened()).remember();
    expect(await logIn(await opened(await InMemoryDeviceIdentity.create()))).toBe(false);
    await writeFile(join(directory.path, 'offline-login'), ACCOUNT.password.reveal());
    expect(await logIn(await opened())).toBe(false);
  });

  it('keeps neither password nor private key in the clear', async () => {
    await (await opened()).remember();
    for (const name of await readdir(directory.path)) {
      const text = await readFile(join(directory.path, name), 'utf8');
      expect(text).not.toContain(ACCOUNT.password.reveal());
      expect(text).not.toContain('"d"');
    }
  });
});
