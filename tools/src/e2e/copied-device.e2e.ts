import { cp, rm } from 'node:fs/promises';
import { join } from 'node:path';

import {
  answersHttp,
  describeWith,
  freePort,
  type RunningProcess,
  type SoftwareTpm,
  startProcess,
  startSoftwareTpm,
  type TempDirectory,
  tempDirectory,
} from '@azaion/testing';

import { WORKSPACE } from '../started-service.js';
import { loaderRequests } from './loader-requests.js';
import { startSystem, type StartedSystem } from './started-system.js';

const MODEL = Buffer.alloc(300_000, 'weights');

/** The thief has everything that lay on the disk, and the password of the device's account. */
describeWith('tpm', "a copy of a device's data directory, on another machine", () => {
  let own: SoftwareTpm;
  let foreign: SoftwareTpm;
  let system: StartedSystem;
  let stolen: TempDirectory;
  let thief: RunningProcess | undefined;

  beforeAll(async () => {
    own = await startSoftwareTpm();
    foreign = await startSoftwareTpm();
    stolen = await tempDirectory('azaion-stolen');
    system = await startSystem({
      loaderEnv: { LOADER_BINDING: 'tpm', TPM_TCTI: own.tcti, LOADER_LOCAL_TRUST: 'session' },
    });
    const publisher = await system.login(await system.createPerson('ResourceUploader'));
    const body = new FormData();
    body.set('folder', 'models');
    body.set('data', new Blob([MODEL]), 'detector.onnx');
    const headers = { authorization: `Bearer ${publisher}` };
    const published = await fetch(`${system.loaderUrl}/upload/detector.onnx`, { method: 'POST', headers, body });
    expect(published.status).toBe(200);
  }, 240_000);
  afterEach(async () => {
    await thief?.stop();
    thief = undefined;
  });
  afterAll(async () => {
    await system.stop();
    await own.remove();
    await foreign.remove();
    await stolen.remove();
  });

  /** As the device itself: no token. */
  const load = (url: string): Promise<Response> => loaderRequests(url).load('detector.onnx');
  /** @param apiUrl - Where the thief lets the Loader look for the Admin API. */
  const startThief = async (dataDir: string, apiUrl: string): Promise<string> => {
    const port = await freePort();
    const url = `http://127.0.0.1:${String(port)}`;
    thief = await startProcess({
      command: process.execPath,
      args: [join(WORKSPACE, 'apps', 'loader', 'dist', 'main.js')],
      cwd: WORKSPACE,
      env: {
        NODE_OPTIONS: undefined,
        NODE_ENV: 'development',
        LOADER_HOST: '127.0.0.1',
        LOADER_PORT: String(port),
        LOADER_DATA_DIR: dataDir,
        RESOURCE_API_URL: apiUrl,
        DEVICE_CONF: join(system.loaderDataDir, '..', 'device.conf'),
        LOADER_BINDING: 'tpm',
        LOADER_LOCAL_TRUST: 'session',
        TPM_TCTI: foreign.tcti,
      },
      ready: answersHttp(`${url}/health/live`),
    });
    return url;
  };
  const copy = async (name: string): Promise<string> => {
    const path = join(stolen.path, name);
    await cp(system.loaderDataDir, path, { recursive: true });
    return path;
  };

  it('opens on its own device, and does not even start on another', async () => {
    const opened = await load(system.loaderUrl);
    expect(opened.status).toBe(200);
    expect(Buffer.from(await opened.arrayBuffer()).equals(MODEL)).toBe(true);
    await expect(startThief(await copy('whole'), system.adminUrl)).rejects.toThrow(/made in another TPM/);
    expect(await foreign.handles()).toEqual([]);
  }, 120_000);

  it.each([
    ['in reach of the Admin API', (): string => system.adminUrl],
    ['out of its reach, with a lease that holds', (): string => 'http://127.0.0.1:9'],
  ])(
    'opens nothing with new keys in the place of the old, %s',
    async (_, apiUrl) => {
      const dataDir = await copy(String(apiUrl().length));
      await rm(join(dataDir, 'tpm'), { recursive: true });
      // What the device keeps under its own key tells that the key is another.
      await expect(startThief(dataDir, apiUrl())).rejects.toThrow(/was written by another device/);
      await rm(join(dataDir, 'statement-trust.json'));
      const url = await startThief(dataDir, apiUrl());
      const login = (): Promise<Response> => loaderRequests(url).login(system.deviceAccount);
      // A connection that ends without an answer has opened nothing either; the process must have survived it.
      for (const attempt of [() => load(url), login])
        expect(
          await attempt().then(
            ({ ok }) => ok,
            () => false,
          ),
        ).toBe(false);
      expect(await answersHttp(`${url}/health/live`)()).toBe(true);
    },
    120_000,
  );

  it('has taken nothing from the device that it was copied from', async () => {
    expect((await load(system.loaderUrl)).status).toBe(200);
  });
});
