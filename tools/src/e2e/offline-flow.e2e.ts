import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { pseudoRandomBytes } from '@azaion/testing';

import { answerOf, type Person, startSystem, type StartedSystem } from './started-system.js';

const NAME = 'detector.bin';
const CONTENT = pseudoRandomBytes('offline', 3_000_000);

describe('a Loader whose network goes away', () => {
  let system: StartedSystem;
  let person: Person;
  let personToken: string;
  let publisher: string;
  let administrator: string;

  beforeAll(async () => {
    system = await startSystem({ linked: true, loaderEnv: { LOADER_LOCAL_TRUST: 'session' } });
    person = await system.createPerson('Operator');
    personToken = await system.login(person);
    administrator = await system.loginAtAdmin(system.administrator);
    publisher = await system.login(await system.createPerson('ResourceUploader'));
    await system.requests.publish(NAME, CONTENT, publisher);
  }, 180_000);
  afterAll(() => system.stop());

  const bytesOf = async (response: Response): Promise<Buffer> => Buffer.from(await response.arrayBuffer());
  const get = async (path: string, token?: string): Promise<Record<string, unknown>> => {
    const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
    return (await (await fetch(system.loaderUrl + path, { headers })).json()) as Record<string, unknown>;
  };
  const offlineToken = async (): Promise<string> => {
    const answer = await system.requests.login(system.deviceAccount);
    expect(answer.status).toBe(200);
    return ((await answer.json()) as { access_token: string }).access_token;
  };

  it('opens online first, for the device itself and for a person', async () => {
    for (const token of [undefined, personToken]) {
      const loaded = await system.requests.load(NAME, token);
      expect(loaded.status).toBe(200);
      expect((await bytesOf(loaded)).equals(CONTENT)).toBe(true);
    }
    expect(await get('/resources/models', personToken)).toMatchObject({
      resources: [{ name: NAME, latestVersion: 1, totalBytes: CONTENT.length, cached: true, cachedVersions: [1] }],
    });
  });

  it('goes on for the device, and for the person whom the Admin API had let read in the folder', async () => {
    system.link?.silence();
    for (const token of [undefined, personToken]) {
      const loaded = await system.requests.load(NAME, token);
      expect(loaded.status).toBe(200);
      expect(loaded.headers.get('x-resource-version')).toBe('1');
      expect((await bytesOf(loaded)).equals(CONTENT)).toBe(true);
    }
  });

  it('goes on through a restart, is ready, and says that it is offline', async () => {
    system.link?.sever();
    await system.restartLoader();
    const loaded = await system.requests.load(NAME);
    expect(loaded.status).toBe(200);
    expect((await bytesOf(loaded)).equals(CONTENT)).toBe(true);
    expect((await fetch(`${system.loaderUrl}/health/ready`)).status).toBe(200);
    expect(await get('/status')).toMatchObject({ offline: true });
  });

  it('gives a person no more than it knows: after the restart it does not know who may read', async () => {
    const loaded = await system.requests.load(NAME, personToken);
    expect(loaded.status).toBe(502);
    expect(await loaded.json()).toMatchObject({ code: 'api.unreachable' });
  });

  it("lets only the device's own credentials in, and tells everybody else 503", async () => {
    for (const who of [
      person,
      { ...system.deviceAccount, password: `${system.deviceAccount.password}x` },
      { ...system.deviceAccount, email: person.email },
    ]) {
      const answer = await system.requests.login(who);
      expect(answer.status).toBe(503);
      expect(await answer.json()).toMatchObject({ code: 'api.unreachable' });
    }
    const token = await offlineToken();
    expect((await bytesOf(await system.requests.load(NAME, token))).equals(CONTENT)).toBe(true);
    expect(await get('/resources/models', token)).toMatchObject({
      resources: [{ name: NAME, latestVersion: 1, cached: true }],
    });
    expect((await system.requests.load('other.bin', token)).status).toBe(403);
    const upload = await system.requests.upload('x.bin', Buffer.from('x'), token);
    expect(upload.status).toBe(403);
  });

  it('gives such a token no more when the network is back, and the Admin API none of its doors', async () => {
    const token = await offlineToken();
    system.link?.mend();
    expect((await bytesOf(await system.requests.load(NAME, token))).equals(CONTENT)).toBe(true);
    expect((await system.requests.load('other.bin', token)).status).toBe(403);
    const headers = { authorization: `Bearer ${token}` };
    for (const path of ['/users/current', '/sealed/models', '/devices/me/desired'])
      expect((await fetch(system.adminUrl + path, { headers })).status).toBe(401);
    expect((await system.requests.load(NAME)).status).toBe(200);
  });

  it('refuses offline what was withdrawn before the network went, also when its old lease is put back', async () => {
    const name = 'withdrawn.bin';
    const leasesOf = join(system.loaderDataDir, 'leases', 'models', name);
    await system.requests.publish(name, pseudoRandomBytes('first', 50_000), publisher);
    expect((await system.requests.load(name)).status).toBe(200);
    const old = await readFile(join(leasesOf, '1.json'), 'utf8');
    const second = pseudoRandomBytes('second', 50_000);
    await system.requests.publish(name, second, publisher);
    await answerOf(
      system.adminApi(administrator).POST('/sealed/{folder}/{name}/versions/{version}/withdraw', {
        params: { path: { folder: 'models', name, version: 1 } },
      }),
    );
    expect((await bytesOf(await system.requests.load(name))).equals(second)).toBe(true);
    expect(await readdir(leasesOf)).toEqual(['2.json']);

    system.link?.sever();
    await writeFile(join(leasesOf, '1.json'), old);
    const token = await offlineToken();
    const opened = async (version: number): Promise<number> => {
      const headers = { authorization: `Bearer ${token}` };
      const url = `${system.loaderUrl}/resources/models/${name}?version=${String(version)}`;
      return (await fetch(url, { headers })).status;
    };
    expect([await opened(1), await opened(2)]).toEqual([403, 200]);
    system.link?.mend();
  });

  it('opens nothing with a lease that was changed, and keeps no other secret on the disk', async () => {
    system.link?.sever();
    const path = join(system.loaderDataDir, 'leases', 'models', NAME, '1.json');
    const text = await readFile(path, 'utf8');
    const lease = JSON.parse(text) as { grantToken: string };
    const at = lease.grantToken.lastIndexOf('.') + 10;
    const other = lease.grantToken[at] === 'A' ? 'B' : 'A';
    const changed = lease.grantToken.slice(0, at) + other + lease.grantToken.slice(at + 1);
    await writeFile(path, JSON.stringify({ ...lease, grantToken: changed }));
    expect((await system.requests.load(NAME)).status).toBe(502);
    await writeFile(path, text);
    expect((await system.requests.load(NAME)).status).toBe(200);
    for (const name of await readdir(system.loaderDataDir)) {
      const kept = await readFile(join(system.loaderDataDir, name), 'utf8').catch(() => '');
      expect(kept).not.toContain(system.deviceAccount.password);
    }
  });

  it('forgets its leases when it learns that the device was revoked', async () => {
    system.link?.mend();
    const params = { path: { serial: system.serial } };
    await answerOf(system.adminApi(administrator).POST('/devices/{serial}/revoke', { params }));
    // While it was not sure of the link it serves from the lease and asks beside: the refusal comes with the answer.
    while ((await system.requests.load(NAME)).status === 200);
    expect((await system.requests.load(NAME)).status).toBe(403);
    system.link?.sever();
    expect((await system.requests.load(NAME)).status).toBeGreaterThanOrEqual(400);
    expect((await system.requests.login(system.deviceAccount)).status).toBe(502);
  });
});
