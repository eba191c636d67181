import { execFile } from 'node:child_process';
import { cp, mkdir, readdir, readFile, rename, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { pseudoRandomBytes, tempDirectory } from '@azaion/testing';

import { answerOf, startSystem, type StartedSystem } from './started-system.js';

const NAME = 'detector.bin';
const CONTENT = pseudoRandomBytes('bundle', 3_000_000);

interface Told {
  readonly ok: boolean;
  readonly error?: { readonly code: string; readonly exitStatus: number };
  readonly [fact: string]: unknown;
}

describe('a bundle, carried to a device that no network reaches', () => {
  let system: StartedSystem;
  let directory: Awaited<ReturnType<typeof tempDirectory>>;
  let publisher = '';
  const at = (...parts: string[]): string => join(directory.path, ...parts);
  const azaion = (...args: string[]): Promise<Told> => {
    const main = fileURLToPath(new URL('../../../apps/cli/bin/azaion.js', import.meta.url));
    const env = {
      ...process.env,
      AZAION_PROFILE: at('profile', 'profile.json'),
      AZAION_PASSWORD: system.administrator.password,
      STATEMENT_ROOT_KEY_FILE: at('root.json'),
    };
    return new Promise((resolve, reject) => {
      execFile(process.execPath, [main, ...args, '--json'], { env }, (_refused, stdout, stderr) => {
        if (stdout === '') reject(new Error(stderr));
        else resolve(JSON.parse(stdout) as Told);
      });
    });
  };
  const load = (name = NAME): Promise<Response> => system.requests.load(name);
  const statusOf = async (answering: Promise<Response>): Promise<number> => {
    const answer = await answering;
    await answer.arrayBuffer();
    return answer.status;
  };
  const administration = async () => system.adminApi(await system.loginAtAdmin(system.administrator));
  /** From here on the network breaks every connection, and the Loader starts as after a power cut. */
  const restartOffline = async (until?: 'live'): Promise<void> => {
    system.link?.sever();
    await system.restartLoader(until);
  };
  const restartOnline = async (): Promise<void> => {
    system.link?.mend();
    await system.restartLoader();
  };

  beforeAll(async () => {
    directory = await tempDirectory('azaion-bundle');
    system = await startSystem({
      linked: true,
      loaderEnv: { LOADER_LOCAL_TRUST: 'session', LOADER_IMPORT_DIR: at('import') },
    });
    await mkdir(at('profile'));
    const root = await (await fetch(`${system.adminUrl}/.well-known/azaion-statement-root`)).text();
    await writeFile(at('root.json'), root);
    publisher = await system.login(await system.createPerson('ResourceUploader'));
    await system.requests.publish(NAME, CONTENT, publisher);
    expect(await azaion('login', '--api', system.adminUrl, '--email', system.administrator.email)).toMatchObject({
      ok: true,
    });
  }, 180_000);
  afterAll(async () => {
    await system.stop();
    await directory.remove();
  });

  it('is made by an ApiAdmin for named devices, as a directory and as one file', async () => {
    for (const output of ['bundle', 'bundle.tar'])
      expect(
        await azaion('bundle', 'create', `models/${NAME}@1`, '--device', system.serial, '-o', at(output)),
      ).toMatchObject({ ok: true, serials: [system.serial], resources: [{ name: NAME, version: 1 }] });
    expect((await readdir(at())).filter((name) => name.includes('parts'))).toEqual([]);
    for (const path of ['bundle', 'bundle.tar'])
      expect(await azaion('bundle', 'inspect', at(path))).toMatchObject({
        ok: true,
        resources: [{ folder: 'models', name: NAME, version: 1, grants: [{ serial: system.serial }] }],
      });
    // Only ciphertext travels.
    for (const entry of await readdir(at('bundle'), { recursive: true, withFileTypes: true }))
      if (entry.isFile())
        expect((await readFile(join(entry.parentPath, entry.name))).includes(CONTENT.subarray(1000, 1032))).toBe(false);
  });

  it('is refused for devices that do not exist, and to people who are no ApiAdmin', async () => {
    expect(await azaion('bundle', 'create', `models/${NAME}`, '--device', 'azj-9999', '-o', at('none'))).toMatchObject({
      ok: false,
      error: { code: 'resource.not-found' },
    });
    const operator = await system.createPerson('Operator');
    const token = await system.loginAtAdmin(operator);
    const answer = await fetch(`${system.adminUrl}/sealed/models/${NAME}/grants/batch`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: JSON.stringify({ serials: [system.serial], version: 1 }),
    });
    expect(answer.status).toBe(403);
  });

  it('is found good byte for byte, and every damage is found', async () => {
    expect(await azaion('verify', at('bundle'))).toMatchObject({ ok: true, resources: 1 });
    expect(await azaion('verify', at('bundle.tar'))).toMatchObject({ ok: true });
    const files = (await readdir(at('bundle'), { recursive: true, withFileTypes: true }))
      .filter((entry) => entry.isFile() && entry.name !== 'bundle.json')
      .map((entry) => join(entry.parentPath, entry.name).slice(at('bundle').length + 1));
    expect(files.length).toBeGreaterThanOrEqual(7);
    const one = (pattern: RegExp): string => files.find((file) => pattern.test(file)) ?? '';
    const kinds = [/^packs/, /root/, /statements/, /key-document/, /grants/];
    for (const [turn, kind] of kinds.entries()) {
      const damaged = at('damaged');
      await rm(damaged, { recursive: true, force: true });
      await cp(at('bundle'), damaged, { recursive: true });
      const file = join(damaged, one(kind));
      const bytes = await readFile(file);
      if (turn === 0) await truncate(file, bytes.length - 1);
      else await writeFile(file, bytes.with(bytes.length >> 1, (bytes[bytes.length >> 1] ?? 0) ^ 1));
      expect(await azaion('verify', damaged)).toMatchObject({ ok: false, error: { exitStatus: 6 } });
    }
  });

  it('opens on the device with no network, whole and from its own disk', async () => {
    // The device has been in contact once: that is when it learned whose signatures to trust.
    await (await load()).arrayBuffer();
    system.link?.silence();
    // A device whose cache knows nothing of it.
    await system.loader().stop();
    for (const name of ['packs', 'segments', 'leases'])
      await rm(join(system.loaderDataDir, name), { recursive: true, force: true });
    expect(await azaion('bundle', 'import', at('bundle.tar'), '--to', at('import'))).toMatchObject({ ok: true });
    // Ready although no Admin API answers: the bundle's lease is one like any other.
    await system.restartLoader();
    const loaded = await load();
    expect(loaded.status).toBe(200);
    expect(Buffer.from(await loaded.arrayBuffer()).equals(CONTENT)).toBe(true);
  });

  it('takes nothing back of what the Admin API has granted since, at no later start', async () => {
    const lease = join(system.loaderDataDir, 'leases', 'models', NAME, '1.json');
    const carried = await readFile(lease, 'utf8');
    await restartOnline();
    let renewed = carried;
    // While it was not sure of the link it serves from the bundle's lease and asks beside.
    while (renewed === carried) {
      expect(await statusOf(load())).toBe(200);
      renewed = await readFile(lease, 'utf8');
    }
    await restartOffline();
    expect(await readFile(lease, 'utf8')).toBe(renewed);
    expect(await statusOf(load())).toBe(200);
  });

  it('opens a version no more that the Admin API has refused to the device since, although the bundle still lies there', async () => {
    await restartOnline();
    const names = ['withdrawn.bin', 'kept.bin'];
    for (const name of names) await system.requests.publish(name, pseudoRandomBytes(name, 50_000), publisher);
    const versions = names.map((name) => `models/${name}@1`);
    expect(await azaion('bundle', 'create', ...versions, '--device', system.serial, '-o', at('two'))).toMatchObject({
      ok: true,
    });
    expect(await azaion('bundle', 'import', at('two'), '--to', at('import'))).toMatchObject({ ok: true });
    await restartOffline();
    for (const name of names) expect(await statusOf(load(name))).toBe(200);
    await answerOf(
      (await administration()).POST('/sealed/{folder}/{name}/versions/{version}/withdraw', {
        params: { path: { folder: 'models', name: 'withdrawn.bin', version: 1 } },
      }),
    );
    await restartOnline();
    while ((await statusOf(load('withdrawn.bin'))) === 200);
    expect(await statusOf(load('withdrawn.bin'))).toBe(404);
    await restartOffline();
    expect(await statusOf(load('withdrawn.bin'))).toBeGreaterThanOrEqual(400);
    expect(await statusOf(load('kept.bin'))).toBe(200);
  });

  it('releases nothing of a pack that was changed on the device', async () => {
    const packs = (await readdir(at('import', 'bundle', 'packs'), { recursive: true, withFileTypes: true })).filter(
      (entry) => entry.isFile(),
    );
    for (const { parentPath, name } of packs) {
      const bytes = await readFile(join(parentPath, name));
      const changed = join(parentPath, `${name}.changed`);
      await writeFile(
        changed,
        bytes.map((byte) => byte ^ 1),
      );
      await rename(changed, join(parentPath, name));
    }
    const loaded = await load();
    const got = await loaded.arrayBuffer().catch(() => undefined);
    expect(loaded.status === 200 && got?.byteLength === CONTENT.length).toBe(false);
  });

  it('opens nothing any more once the device was revoked, at no later start', async () => {
    const params = { path: { serial: system.serial } };
    await answerOf((await administration()).POST('/devices/{serial}/revoke', { params }));
    await restartOnline();
    while ((await statusOf(load('kept.bin'))) !== 403);
    await restartOffline('live'); // it has nothing to serve: it is not ready
    expect(await statusOf(load('kept.bin'))).toBeGreaterThanOrEqual(400);
    expect((await fetch(`${system.loaderUrl}/health/ready`)).status).toBe(503);
    expect(await statusOf(system.requests.login(system.deviceAccount))).toBeGreaterThanOrEqual(400);
  });
});
