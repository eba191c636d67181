import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { DeviceStateKey } from '@azaion/identity';
import { InMemoryDeviceIdentity } from '@azaion/identity/testing';
import { tempDirectory, type TempDirectory } from '@azaion/testing';

import { DesiredImages } from './desired-images.js';

const WANTED = { folder: 'images', name: 'field', version: 3, latest: false };
const VERSION = { folder: 'images', name: 'field', version: 3 };

describe('DesiredImages', () => {
  let directory: TempDirectory;
  let key: DeviceStateKey;
  let path: string;
  beforeEach(async () => {
    directory = await tempDirectory('azaion-desired');
    key = await DeviceStateKey.of(await InMemoryDeviceIdentity.create());
    path = join(directory.path, 'desired-images');
  });
  afterEach(() => directory.remove());

  it('knows nothing at first, and keeps what it was told over a restart until it is told otherwise', async () => {
    const first = await DesiredImages.open(path, key);
    expect(first.current).toBeUndefined();
    await first.tell(WANTED);
    expect(first.current).toEqual(VERSION);
    const second = await DesiredImages.open(path, key);
    await second.known();
    expect(second.current).toEqual(VERSION);
    await second.tell(undefined);
    expect((await DesiredImages.open(path, key)).current).toBeUndefined();
  });

  it('means the newest of the configured archive while the latest is wanted and there is none', async () => {
    const images = await DesiredImages.open(path, key);
    await images.tell({ ...WANTED, version: undefined, latest: true });
    expect(images.current).toBeUndefined();
  });

  it('lets others wait until somebody was asked', async () => {
    const images = await DesiredImages.open(path, key);
    let isKnown = false;
    const known = images.known().then(() => (isKnown = true));
    await new Promise(setImmediate);
    expect(isKnown).toBe(false);
    images.settle();
    await known;
  });

  it.each([
    ['was changed', (text: string) => text.replace('"version":3', '"version":2')],
    ['is cut off', (text: string) => text.slice(0, -1)],
    ['is empty', () => ''],
  ])('does not believe a file that %s', async (_, change) => {
    await (await DesiredImages.open(path, key)).tell(WANTED);
    await writeFile(path, change(await readFile(path, 'utf8')));
    expect((await DesiredImages.open(path, key)).current).toBeUndefined();
  });

  it('does not believe the file of another device', async () => {
    await (await DesiredImages.open(path, key)).tell(WANTED);
    const other = await DeviceStateKey.of(await InMemoryDeviceIdentity.create());
    expect((await DesiredImages.open(path, other)).current).toBeUndefined();
  });
});
