import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { DeviceStateKey, JwksSource } from '@azaion/identity';
import { InMemoryDeviceIdentity, InMemoryJwksSource } from '@azaion/identity/testing';
import { tempDirectory } from '@azaion/testing';

import { CachedJwksSource } from './index.js';

let directory: Awaited<ReturnType<typeof tempDirectory>>;
let path: string;
let key: DeviceStateKey;
let source: InMemoryJwksSource;
const DOWN = new Error('down');

beforeEach(async () => {
  directory = await tempDirectory('jwks');
  path = join(directory.path, 'jwks.json');
  key = await DeviceStateKey.of(await InMemoryDeviceIdentity.create());
  source = new InMemoryJwksSource();
  await source.publish();
});
afterEach(() => directory.remove());

const opened = (of: JwksSource = source, patienceMs = 60_000): CachedJwksSource =>
  new CachedJwksSource(of, path, key, patienceMs);

describe('CachedJwksSource', () => {
  it('passes the set of its source on, and has a copy of it after a restart while the source is down', async () => {
    const keys = await opened().currentKeys();
    expect(keys).toEqual(await source.currentKeys());
    source.failure = DOWN;
    await expect(opened().currentKeys()).rejects.toBe(DOWN);
    expect(await opened().keptKeys()).toEqual(keys);
  });

  it('passes the failure on while it has nothing', async () => {
    source.failure = DOWN;
    await expect(opened().currentKeys()).rejects.toBe(DOWN);
    expect(await opened().keptKeys()).toBeUndefined();
  });

  it('follows a rotation', async () => {
    await opened().currentKeys();
    await source.publish();
    const rotated = await opened().currentKeys();
    expect((rotated as { keys: unknown[] }).keys).toHaveLength(2);
    expect(await opened().keptKeys()).toEqual(rotated);
  });

  it('gives a source up that lets wait, where there is a copy', async () => {
    await opened().currentKeys();
    const silent = new (class extends JwksSource {
      override currentKeys(): Promise<unknown> {
        return new Promise(() => undefined);
      }
    })();
    await expect(opened(silent, 1).currentKeys()).rejects.toMatchObject({ code: 'api.unreachable' });
  });

  it('refuses a copy that was changed, and one of another device', async () => {
    await opened().currentKeys();
    const text = await readFile(path, 'utf8');
    const attacker = new InMemoryJwksSource();
    await attacker.publish();
    const forged = JSON.stringify(await attacker.currentKeys());
    for (const changed of ['', forged, `${text.split('\n', 1)[0] ?? ''}\n${forged}`, text.replace('"EC"', '"RC"')]) {
      await writeFile(path, changed);
      expect(await opened().keptKeys()).toBeUndefined();
    }
    await writeFile(path, text);
    key = await DeviceStateKey.of(await InMemoryDeviceIdentity.create());
    expect(await opened().keptKeys()).toBeUndefined();
  });

  it.each([null, {}, { keys: [] }, 'text'])('never keeps %j in place of good keys', async (answer) => {
    const keys = await opened().currentKeys();
    const bad = new (class extends JwksSource {
      override currentKeys(): Promise<unknown> {
        return Promise.resolve(answer);
      }
    })();
    expect(await opened(bad).currentKeys()).toEqual(answer);
    expect(await opened().keptKeys()).toEqual(keys);
  });
});
