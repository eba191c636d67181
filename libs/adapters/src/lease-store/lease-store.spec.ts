import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { DeviceStateKey } from '@azaion/identity';
import { InMemoryDeviceIdentity } from '@azaion/identity/testing';
import { describeLeaseStore, InMemoryLeaseStore } from '@azaion/split-resource/testing';
import { tempDirectory } from '@azaion/testing';

import { BootRunningClock, FileLeaseStore, FileRefusalMarkStore, FileTimeMarkStore } from './index.js';

const removals: (() => Promise<void>)[] = [];
const newDirectory = async (): Promise<string> => {
  const directory = await tempDirectory('leases');
  removals.push(() => directory.remove());
  return directory.path;
};
afterEach(async () => {
  for (const remove of removals.splice(0)) await remove();
});

describeLeaseStore('FileLeaseStore', async () => {
  const directory = await newDirectory();
  return { store: new FileLeaseStore(directory), reopen: () => new FileLeaseStore(directory) };
});
describeLeaseStore('InMemoryLeaseStore', () => {
  const store = new InMemoryLeaseStore();
  return Promise.resolve({ store, reopen: () => store });
});

describe('FileLeaseStore', () => {
  const lease = {
    resource: { folder: 'models', name: 'a.onnx' },
    version: 3,
    grant: {
      grantId: '00000000-0000-4000-8000-000000000000',
      statement: 'a.b.c',
      grantToken: 'd.e.f',
      sealedRecipeKey: { enc: new Uint8Array(65), ciphertext: new Uint8Array(80) },
      verified: true,
    },
  };

  it.each([
    '',
    '{',
    'null',
    '[]',
    '{"grantId":"x"}',
    JSON.stringify({
      grantId: lease.grant.grantId,
      statement: 'no jws',
      grantToken: 'd.e.f',
      enc: '',
      ciphertext: '',
    }),
  ])('takes the damaged file %j for no lease, and replaces it', async (text) => {
    const directory = await newDirectory();
    const store = new FileLeaseStore(directory);
    await store.keep(lease);
    await writeFile(join(directory, 'models', 'a.onnx', '3.json'), text);
    expect(await store.of(lease.resource)).toEqual([]);
    await store.keep(lease);
    expect(await store.of(lease.resource)).toEqual([lease]);
  });

  it('overlooks what does not belong there', async () => {
    const directory = await newDirectory();
    const store = new FileLeaseStore(directory);
    await store.keep(lease);
    for (const name of ['0.json', '03.json', '4.json.tmp', 'notes', '99999999999.json'])
      await writeFile(join(directory, 'models', 'a.onnx', name), '{}');
    await writeFile(join(directory, 'file'), '');
    expect(await store.names()).toEqual([{ resource: lease.resource, version: 3 }]);
  });

  it('makes no path of a name that is none', async () => {
    const store = new FileLeaseStore(await newDirectory());
    for (const folder of ['..', 'a/b', '', '.hidden'])
      await expect(store.of({ folder, name: 'a' })).rejects.toMatchObject({ code: 'name.invalid' });
  });
});

describe('FileTimeMarkStore', () => {
  it('keeps one mark across restarts, of this device and unchanged only', async () => {
    const directory = await newDirectory();
    const path = join(directory, 'time.json');
    const key = await DeviceStateKey.of(await InMemoryDeviceIdentity.create());
    const other = await DeviceStateKey.of(await InMemoryDeviceIdentity.create());
    const store = new FileTimeMarkStore(path, key);
    expect(await store.read()).toBeUndefined();
    await store.write({ signedSeconds: 1, runningMs: 2 });
    const mark = { signedSeconds: 1_800_000_000, runningMs: 60_000, clock: { era: 'tpm', elapsedMs: 7 } };
    await store.write(mark);
    const reopened = new FileTimeMarkStore(path, key);
    expect(await reopened.read()).toEqual(mark);
    expect(await new FileTimeMarkStore(path, other).read()).toBeUndefined();
    const text = await readFile(path, 'utf8');
    await writeFile(path, text.replace('60000', '00000'));
    expect(await reopened.read()).toBeUndefined();
    expect(await readdir(directory)).toEqual(['time.json']);
  });
});

describe('FileRefusalMarkStore', () => {
  const marks = { deviceSeconds: 5, resources: new Map([['models/a.onnx/3', 1_800_000_000]]) };

  it('has no marks at first, and keeps them across restarts', async () => {
    const path = join(await newDirectory(), 'lease-refusals');
    const key = await DeviceStateKey.of(await InMemoryDeviceIdentity.create());
    const store = new FileRefusalMarkStore(path, key);
    expect(await store.read()).toEqual({ deviceSeconds: 0, resources: new Map() });
    await store.write(marks);
    expect(await new FileRefusalMarkStore(path, key).read()).toEqual(marks);
  });

  it.each([
    ['changed', (text: string) => text.replace('1800000000', '1700000000')],
    ['emptied', () => ''],
    ['cut off', (text: string) => text.slice(0, -1)],
  ])('refuses everything when they were %s', async (_, change) => {
    const path = join(await newDirectory(), 'lease-refusals');
    const key = await DeviceStateKey.of(await InMemoryDeviceIdentity.create());
    const store = new FileRefusalMarkStore(path, key);
    await store.write(marks);
    await writeFile(path, change(await readFile(path, 'utf8')));
    expect((await store.read()).deviceSeconds).toBe(Number.MAX_SAFE_INTEGER);
  });

  it("refuses everything when they are another device's", async () => {
    const path = join(await newDirectory(), 'lease-refusals');
    const [key, other] = [await InMemoryDeviceIdentity.create(), await InMemoryDeviceIdentity.create()];
    await new FileRefusalMarkStore(path, await DeviceStateKey.of(other)).write(marks);
    const read = await new FileRefusalMarkStore(path, await DeviceStateKey.of(key)).read();
    expect(read.deviceSeconds).toBe(Number.MAX_SAFE_INTEGER);
  });
});

describe('BootRunningClock', () => {
  it('goes forward within one boot, and tells boots apart', async () => {
    const bootId = join(await newDirectory(), 'boot_id');
    await writeFile(bootId, '6f1e\n');
    const [first, second] = [await new BootRunningClock(bootId).read(), await new BootRunningClock(bootId).read()];
    expect(second.era).toBe(first.era);
    expect(second.elapsedMs).toBeGreaterThanOrEqual(first.elapsedMs);
    await writeFile(bootId, '6f1f\n');
    expect((await new BootRunningClock(bootId).read()).era).not.toBe(first.era);
  });

  it('knows nothing of earlier starts where the machine does not tell its boots apart', async () => {
    const reading = await new BootRunningClock(join(await newDirectory(), 'none')).read();
    expect(reading.era).toBeUndefined();
  });
});
