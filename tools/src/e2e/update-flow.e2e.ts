import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';

import { imageArchive, pseudoRandomBytes } from '@azaion/testing';

import { type Person, startSystem, type StartedSystem } from './started-system.js';

const SIZE_BYTES = 2_000_000;

/** What the Admin API knows of a device. */
interface ReportedDevice {
  readonly report?: {
    readonly resources: readonly { readonly name: string; readonly version: number }[];
    readonly images: { readonly version: number; readonly state: string } | null;
  } | null;
}

describe('a fleet update', () => {
  let system: StartedSystem;
  let administrator: string;
  let publisher: string;
  let operator: Person;

  beforeAll(async () => {
    system = await startSystem({
      linked: true,
      loaderEnv: { UPDATE_INTERVAL_SECONDS: '1', LOADER_LOCAL_TRUST: 'session', UNLOCK_RUNTIME: 'directory' },
    });
    administrator = await tokenAt(system.adminUrl, system.administrator);
    publisher = await system.login(await system.createPerson('ResourceUploader'));
    operator = await system.createPerson('Operator');
  }, 180_000);
  afterAll(() => system.stop());

  const tokenAt = async (url: string, person: Person): Promise<string> => {
    const answer = await call(url, 'POST', '/login', person);
    return ((await answer.json()) as { access_token: string }).access_token;
  };
  const call = (url: string, method: string, path: string, body?: object, token?: string): Promise<Response> =>
    fetch(url + path, {
      method,
      headers: {
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  /** Publishes at the Loader, which is no other device's: everything else here goes past it. */
  const publish = (name: string, content: Buffer, query?: string): Promise<void> =>
    system.requests.publish(name, content, publisher, query);
  const want = async (body: object): Promise<void> => {
    const answer = await call(system.adminUrl, 'PUT', `/devices/${system.serial}/desired`, body, administrator);
    expect(answer.status).toBe(204);
  };
  /** Looks at what the device has reported until it is as wanted. */
  const reported = async (isWanted: (report: NonNullable<ReportedDevice['report']>) => boolean): Promise<void> => {
    for (;;) {
      const answer = await call(system.adminUrl, 'GET', `/devices/${system.serial}`, undefined, administrator);
      const { report } = (await answer.json()) as ReportedDevice;
      if (report !== undefined && report !== null && isWanted(report)) return;
      await delay(200);
    }
  };

  it('reaches a device on which nobody calls anything, and opens there with the network gone', async () => {
    const [first, second] = [pseudoRandomBytes('first', SIZE_BYTES), pseudoRandomBytes('second', SIZE_BYTES)];
    await publish('detector.bin', first);
    await want({ resources: [{ folder: 'models', name: 'detector.bin', version: 'latest' }] });
    await reported(({ resources }) => resources.some(({ name, version }) => name === 'detector.bin' && version === 1));
    await publish('detector.bin', second);
    await reported(({ resources }) => resources.some(({ name, version }) => name === 'detector.bin' && version === 2));
    system.link?.sever();
    const loaded = await system.requests.load('detector.bin');
    expect(loaded.headers.get('x-resource-version')).toBe('2');
    expect(Buffer.from(await loaded.arrayBuffer()).equals(second)).toBe(true);
    system.link?.mend();
    system.link?.resetAll();
  });

  it('brings images, applies them and reports so', async () => {
    const archive = await imageArchive([{ name: 'azaion/demo:2', layers: [{ seed: 'demo', sizeBytes: 200_000 }] }]);
    await publish('azaion-field', await buffer(archive.open()), 'folder=images&kind=images');
    await want({ resources: [], images: { folder: 'images', name: 'azaion-field', version: 'latest' } });
    await reported(({ images }) => images?.version === 1 && images.state === 'ready');
    expect(await (await fetch(`${system.loaderUrl}/unlock/status`)).json()).toMatchObject({
      state: 'ready',
      images: [{ reference: 'azaion/demo:2', present: true }],
    });
    expect(await readdir(join(system.loaderDataDir, 'images'))).not.toHaveLength(0);
    expect(await system.login(operator)).toBeTruthy();
  });
});
