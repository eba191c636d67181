import { ApiClient } from '@azaion/adapters/resource-api';
import { parseDeviceConf } from '@azaion/identity';
import { ManualClock, Secret } from '@azaion/kernel';
import { OlderAdminApi, type TempDirectory, tempDirectory } from '@azaion/testing';
import { Logger } from '@nestjs/common';

import { readLoaderConfig } from '../config.js';
import type { LoaderDevice } from '../loader-adapters.js';
import type { TokenBearer } from '../session/caller-apis.js';
import { legacyAdapters, type LegacyLoaderAdapters } from './legacy-adapters.js';

const DEVICE = { email: 'azj-0001@azaion.com', password: 'the password of the device', role: 'CompanionPC' };
const BOUND = {
  email: 'bound@azaion.com',
  password: 'validpass',
  role: 'Operator',
  fingerprint: 'CPU: Cortex-A78AE. GPU: Orin. Memory: 30698240. DriveSerial: S5H9NX0T',
};
const HOUR_MS = 3_600_000;
const { signal } = new AbortController();

describe('a Loader in legacy mode', () => {
  let directory: TempDirectory;
  let admin: OlderAdminApi;
  let client: ApiClient;
  let clock: ManualClock;
  let adapters: LegacyLoaderAdapters;
  let device: LoaderDevice;

  beforeAll(async () => {
    directory = await tempDirectory('azaion-legacy-adapters');
    Logger.overrideLogger(false);
  });
  afterAll(() => directory.remove());

  beforeEach(async () => {
    admin = new OlderAdminApi([DEVICE, BOUND]);
    client = new ApiClient({ baseUrl: await admin.start() });
    clock = new ManualClock(Date.now());
    await start();
  });
  afterEach(async () => {
    adapters.closeLegacy();
    await client.close();
    await admin.stop();
  });

  async function start(settings: Record<string, string> = {}, password = DEVICE.password): Promise<void> {
    const config = readLoaderConfig({
      RESOURCE_API_URL: 'https://api.example',
      LEGACY_API: 'true',
      LOADER_DATA_DIR: directory.path,
      ...settings,
    });
    const conf = parseDeviceConf(`AZAION_DEVICE_EMAIL=${DEVICE.email}\nAZAION_DEVICE_PASSWORD='${password}'\n`);
    adapters = await legacyAdapters(config, client, conf, clock);
    device = adapters.device!;
  }

  async function logIn({ email, password }: { email: string; password: string }): Promise<TokenBearer> {
    const token = (await adapters.auth.login(email, new Secret(password))).accessToken.reveal();
    return { token, caller: await adapters.verifier.verify(token) };
  }

  /** Whether a session is still served, as far as that shows without a CDN: a list of nothing. */
  async function list(bearer: TokenBearer): Promise<unknown> {
    return adapters.legacy!.open.list('models', bearer);
  }

  describe('as the device', () => {
    it('logs in once for everybody who waits', async () => {
      const bearers = await Promise.all(Array.from({ length: 50 }, () => device.bearer()));
      expect(new Set(bearers.map(({ token }) => token)).size).toBe(1);
      await device.bearer();
      expect(admin.logins).toBe(1);
      expect(device.authenticated).toBe(true);
    });

    it('logs in again before its session dies, and only then', async () => {
      const first = await device.bearer();
      clock.advance(3.9 * HOUR_MS);
      expect(await device.bearer()).toBe(first);
      clock.advance(0.09 * HOUR_MS);
      expect(await device.bearer()).not.toBe(first);
      expect(admin.logins).toBe(2);
    });

    it('goes on with its session until the end while it can get no other', async () => {
      const first = await device.bearer();
      await admin.stop();
      clock.advance(4 * HOUR_MS - 1_000);
      expect(await device.bearer()).toBe(first);
      clock.advance(1_000);
      await expect(device.bearer()).rejects.toMatchObject({ code: 'api.unreachable' });
      await admin.start();
    });

    it('logs in again when its session was ended by somebody', async () => {
      const first = await device.bearer();
      await adapters.auth.logout(first.token);
      expect(device.authenticated).toBe(false);
      await list(await device.bearer());
      expect(admin.logins).toBe(2);
    });

    it('is served whatever number of people log in after it', async () => {
      const bearer = await device.bearer();
      for (let login = 0; login < 300; login++) await logIn(login % 2 === 0 ? DEVICE : BOUND);
      expect(await device.bearer()).toBe(bearer);
      await expect(list(bearer)).resolves.toEqual([]);
    });

    it('does not turn calls into logins while its password is refused, and asks more and more seldom', async () => {
      await start({}, 'wrong');
      const asked = (): number => admin.requests.filter((request) => request === 'POST /login').length;
      for (const pauseMs of [5_000, 10_000, 20_000, 40_000, 60_000, 60_000]) {
        const before = asked();
        for (let call = 0; call < 10; call++)
          await expect(device.bearer()).rejects.toMatchObject({ code: 'login.wrong-credentials' });
        clock.advance(pauseMs - 1);
        await expect(device.bearer()).rejects.toMatchObject({ code: 'login.wrong-credentials' });
        expect(asked()).toBe(before + 1);
        clock.advance(1);
      }
    });

    it('asks at once again after the server was out of reach', async () => {
      await admin.stop();
      await expect(device.bearer()).rejects.toMatchObject({ code: 'api.unreachable' });
      expect(device.authenticated).toBe(false);
      admin = new OlderAdminApi([DEVICE]);
      client = new ApiClient({ baseUrl: await admin.start() });
      await start();
      await expect(device.bearer()).resolves.toMatchObject({ caller: { email: DEVICE.email } });
    });
  });

  describe('with many sessions', () => {
    it('keeps those that are used, and pushes out those of a client that logs in for each call', async () => {
      const active = await logIn(BOUND);
      const idle = await logIn(BOUND);
      for (let login = 0; login < 300; login++) await logIn(DEVICE);
      await list(active);
      await list(idle);
    });

    it('keeps what was used last of one account', async () => {
      const [used, unused] = [await logIn(DEVICE), await logIn(DEVICE)];
      for (let login = 0; login < 40; login++) {
        await logIn(DEVICE);
        await list(used);
      }
      await expect(list(unused)).rejects.toMatchObject({ code: 'token.invalid' });
    });
  });

  describe('at a server that binds accounts to machines', () => {
    beforeEach(() => {
      admin.files.set('cdn.yaml', Buffer.from('host: http://127.0.0.1:1\n'));
      admin.files.set('models/bound.onnx.small', Buffer.alloc(3072, 1));
    });

    const opening = async (): Promise<unknown> =>
      adapters.legacy!.open.newest({ folder: 'models', name: 'bound.onnx' }, await logIn(BOUND), signal);

    it('tells the machine that was configured, and opens what is encrypted for it', async () => {
      await start({ LEGACY_HARDWARE_FINGERPRINT: BOUND.fingerprint });
      // The small part and the CDN's configuration opened: the latter names no keys.
      await expect(opening()).rejects.toMatchObject({
        code: 'api.unexpected',
        message: expect.stringContaining('cdn.yaml') as string,
      });
    });

    it.each([
      ['none', {}],
      ['another', { LEGACY_HARDWARE_FINGERPRINT: 'CPU: other. GPU: other. Memory: 1. DriveSerial: 2' }],
    ])('is refused with %s', async (_, settings) => {
      await start(settings);
      await expect(opening()).rejects.toMatchObject({
        code: 'api.unexpected',
        message: expect.stringContaining('contract') as string,
      });
    });
  });
});
