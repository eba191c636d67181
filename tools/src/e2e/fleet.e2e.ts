import { mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { freePort, pseudoRandomBytes, type TempDirectory, tempDirectory } from '@azaion/testing';

import { AzaionCommand } from '../demo/azaion-command.js';
import { startService, WORKSPACE } from '../started-service.js';
import { startSystem, type StartedSystem } from './started-system.js';

type Facts = Readonly<Record<string, unknown>>;

describe('the fleet, by the command line', () => {
  let system: StartedSystem;
  let directory: TempDirectory;
  let command: AzaionCommand;

  beforeAll(async () => {
    directory = await tempDirectory('azaion-fleet');
    system = await startSystem();
    command = new AzaionCommand(WORKSPACE, join(directory.path, 'profile.json'));
    const { email, password } = system.administrator;
    await command.run(['login', '--api', system.adminUrl, '--email', email], password);
    await writeFile(join(directory.path, 'detector.onnx'), pseudoRandomBytes('detector', 100_000));
    await command.run(['publish', join(directory.path, 'detector.onnx')]);
  }, 180_000);

  afterAll(async () => {
    await system.stop();
    await directory.remove();
  });

  /** A staging directory of a test's own. */
  const stagingRoot = async (name: string): Promise<string> => {
    const root = join(directory.path, name);
    await mkdir(join(root, 'etc'), { recursive: true });
    return root;
  };
  const confOf = (root: string): Promise<string> => readFile(join(root, 'etc/azaion/device.conf'), 'utf8');

  describe('azaion device provision', () => {
    it('writes a file that a Loader boots with, and nothing else', async () => {
      const root = await stagingRoot('boots');
      const made = await command.run(['device', 'provision', root]);
      expect(made).toMatchObject({ ok: true, created: true, status: 'registered' });
      expect(JSON.stringify(made)).not.toMatch(/[0-9a-f]{32}/); // the password is in the file only
      const path = join(root, 'etc/azaion/device.conf');
      expect((await stat(path)).mode & 0o777).toBe(0o600);
      expect((await stat(join(root, 'etc/azaion'))).mode & 0o777).toBe(0o700);

      const url = `http://127.0.0.1:${await freePort()}`;
      const loader = await startService({
        app: 'loader',
        url,
        env: {
          LOADER_HOST: '127.0.0.1',
          LOADER_PORT: new URL(url).port,
          LOADER_DATA_DIR: join(directory.path, 'boots-data'),
          LOADER_BINDING: 'credentials',
          DEVICE_CONF: path,
          NODE_ENV: 'production', // the root key comes from the file
        },
      });
      try {
        const serial = String(made['serial']);
        for (;;) {
          const { device } = (await command.run(['device', 'show', serial])) as { device: Facts };
          if (device['status'] === 'enrolled') break;
        }
      } finally {
        await loader.stop();
      }
    });

    it('may be repeated: the device and its password stay, what surrounds them is brought up to date', async () => {
      const root = await stagingRoot('repeated');
      const first = await command.run(['device', 'provision', root]);
      const before = await confOf(root);
      const again = await command.run(['device', 'provision', root, '--device-api', 'https://api.example']);
      expect(again).toMatchObject({ serial: first['serial'], created: false });
      const passwordOf = (text: string): string | undefined => /PASSWORD='(.*)'/.exec(text)?.[1];
      const after = await confOf(root);
      expect(passwordOf(after)).toBe(passwordOf(before));
      expect(after).toContain("RESOURCE_API_URL='https://api.example'");
    });

    it('takes the same device again where it was cut off before the file was written', async () => {
      const root = await stagingRoot('cut-off');
      const first = await command.run(['device', 'provision', root]);
      // As a run leaves it that was killed after the device was made: the key, and no file.
      const another = await stagingRoot('cut-off-2');
      await mkdir(join(another, 'etc/azaion'));
      const key = '0b6f2c5e-3f3f-4c53-9a5e-2f8f7a3d1c11';
      await writeFile(join(another, 'etc/azaion/device.conf.provisioning'), `${key}\n`);
      const second = await command.run(['device', 'provision', another]);
      await rm(join(another, 'etc/azaion/device.conf'));
      await writeFile(join(another, 'etc/azaion/device.conf.provisioning'), `${key}\n`);
      const third = await command.run(['device', 'provision', another]);
      expect(third['serial']).toBe(second['serial']);
      expect(third['serial']).not.toBe(first['serial']);
      await expect(stat(join(another, 'etc/azaion/device.conf.provisioning'))).rejects.toThrow('ENOENT');
    });

    it('gives a named device a fresh password where its file is lost, and refuses once it is enrolled', async () => {
      const root = await stagingRoot('named');
      await command.run(['device', 'provision', root, '--serial', 'drone-7']);
      const before = await confOf(root);
      await rm(join(root, 'etc/azaion'), { recursive: true });
      await command.run(['device', 'provision', root, '--serial', 'drone-7']);
      expect(await confOf(root)).not.toBe(before);
      const elsewhere = await stagingRoot('named-elsewhere');
      const enrolled = command.run(['device', 'provision', elsewhere, '--serial', system.serial]);
      await expect(enrolled).rejects.toThrow('provision.enrolled');
      const mixed = command.run(['device', 'provision', root, '--serial', 'drone-8']);
      await expect(mixed).rejects.toThrow('provision.other-device');
    });

    it('puts the device into groups', async () => {
      await command.run(['group', 'create', 'provisioned']);
      const root = await stagingRoot('grouped');
      const { serial } = await command.run(['device', 'provision', root, '--group', 'provisioned']);
      const { device } = (await command.run(['device', 'show', String(serial)])) as { device: Facts };
      expect(device['groups']).toEqual(['provisioned']);
    });
  });

  it('revokes and resets a device', async () => {
    const { serial } = await command.run(['device', 'provision', await stagingRoot('lost')]);
    await command.run(['device', 'revoke', String(serial)]);
    const list = async (): Promise<readonly Facts[]> =>
      ((await command.run(['device', 'list', '--status', 'revoked'])) as { devices: readonly Facts[] }).devices;
    expect((await list()).map((device) => device['serial'])).toContain(serial);
    await command.run(['device', 'reset', String(serial)]);
    expect((await list()).map((device) => device['serial'])).not.toContain(serial);
  });

  describe('azaion group and desired', () => {
    it('say what the devices of a group shall hold, and what one of them shall hold instead', async () => {
      const { serial } = await command.run(['device', 'provision', await stagingRoot('desired')]);
      await command.run(['group', 'create', 'canary', '--priority', '5']);
      await expect(command.run(['group', 'create', 'canary'])).rejects.toThrow('group.exists');
      await command.run(['group', 'add', 'canary', String(serial)]);
      await command.run(['desired', 'set', '--group', 'canary', 'models/detector.onnx']);
      await command.run(['desired', 'set', '--device', String(serial), 'models/detector.onnx@1']);
      const shown = await command.run(['desired', 'show', '--device', String(serial)]);
      const resource = { folder: 'models', name: 'detector.onnx' };
      expect(shown['desired']).toMatchObject({
        resources: [{ ...resource, version: 1 }],
        effective: { resources: [{ ...resource, version: 1, from: 'device' }] },
      });
      await command.run(['desired', 'unset', '--device', String(serial), 'models/detector.onnx']);
      expect((await command.run(['desired', 'show', '--device', String(serial)]))['desired']).toMatchObject({
        resources: [],
        effective: { resources: [{ ...resource, version: 'latest', from: 'group:canary' }] },
      });
      const { groups } = (await command.run(['group', 'list'])) as { groups: readonly Facts[] };
      expect(groups.find(({ name }) => name === 'canary')).toMatchObject({ devices: 1, priority: 5 });
      await command.run(['group', 'remove', 'canary', String(serial)]);
      await command.run(['group', 'delete', 'canary']);
      await expect(command.run(['desired', 'show', '--group', 'canary'])).rejects.toThrow('group.not-found');
    });

    it('lose no change when two administrators change one group at once', async () => {
      await command.run(['group', 'create', 'busy']);
      const names = ['a', 'b', 'c', 'd'];
      for (const name of names) {
        await writeFile(join(directory.path, name), name);
        await command.run(['publish', join(directory.path, name)]);
      }
      await Promise.all(names.map((name) => command.run(['desired', 'set', '--group', 'busy', `models/${name}`])));
      const { desired } = (await command.run(['desired', 'show', '--group', 'busy'])) as {
        desired: { resources: readonly { name: string }[] };
      };
      expect(desired.resources.map(({ name }) => name).toSorted()).toEqual(names);
    });

    it('refuse a name that was never published', async () => {
      await command.run(['group', 'create', 'mistyped']);
      const mistyped = command.run(['desired', 'set', '--group', 'mistyped', 'models/detectro.onnx']);
      await expect(mistyped).rejects.toThrow('desired.unavailable');
    });
  });
});
