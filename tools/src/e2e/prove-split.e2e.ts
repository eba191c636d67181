import { execFile } from 'node:child_process';
import { copyFile, mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { connectToEmbeddedDatabase } from '@azaion/adapters/split-evidence';
import { pseudoRandomBytes, tempDirectory } from '@azaion/testing';

import { startSystem, type StartedSystem } from './started-system.js';

interface Told {
  readonly ok: boolean;
  readonly error?: {
    readonly code: string;
    readonly message: string;
    readonly next: string;
    readonly exitStatus: number;
  };
  readonly trials?: readonly { readonly kind: string; readonly ok: boolean; readonly recovered: number }[];
}

describe('azaion prove-split against a running Admin API', () => {
  let system: StartedSystem;
  const content = pseudoRandomBytes('prove-split', 700_000);
  const proveSplit = (...args: string[]): Promise<Told> => run(args, process.cwd(), {});
  const proveSplitIn = (directory: string, env: Record<string, string>): Promise<Told> => run([], directory, env);
  const run = (args: readonly string[], cwd: string, env: Record<string, string>): Promise<Told> => {
    const main = fileURLToPath(new URL('../../../apps/cli/bin/azaion.js', import.meta.url));
    return new Promise((resolve, reject) => {
      const options = { cwd, env: { ...process.env, ...env } };
      execFile(process.execPath, [main, 'prove-split', ...args, '--json'], options, (_refused, stdout, stderr) => {
        if (stdout === '') reject(new Error(stderr));
        else resolve(JSON.parse(stdout) as Told);
      });
    });
  };

  beforeAll(async () => {
    system = await startSystem({ embedded: true });
  }, 180_000);
  afterAll(() => system.stop());

  it('says what is missing where there are no stores, or nothing was published', async () => {
    expect(await proveSplit('--data', system.loaderDataDir)).toMatchObject({ ok: false, error: { exitStatus: 2 } });
    expect(await proveSplit('--data', system.adminDataDir)).toMatchObject({ ok: false, error: { exitStatus: 2 } });
  });

  it('recovers nothing from either store alone, and everything that the controls promise', async () => {
    const publisher = await system.login(await system.createPerson('ResourceUploader'));
    await system.requests.publish('model.bin', content, publisher);
    const { ok, trials = [] } = await proveSplit('--data', system.adminDataDir);
    expect(ok).toBe(true);
    const recovered = (kind: string): readonly boolean[] =>
      trials.filter((trial) => trial.kind === kind).map((trial) => trial.recovered > 0);
    expect(recovered('attack')).toEqual([false, false, false, false]);
    expect(recovered('control')).toEqual([true, true, true]);
  });

  it('is told where the stores are by the Admin API’s own settings, or by what a demo leaves, or says what to do', async () => {
    expect(await proveSplitIn(system.loaderDataDir, { ADMIN_DATA_DIR: system.adminDataDir })).toMatchObject({
      ok: true,
    });
    const nowhere = await proveSplitIn(system.loaderDataDir, {});
    expect(nowhere).toMatchObject({ ok: false, error: { exitStatus: 2 } });
    expect(nowhere.error?.next).toContain('npm start');
    const workspace = await tempDirectory('azaion-prove-split');
    try {
      await mkdir(join(workspace.path, '.azaion', 'demo', 'admin-keys'), { recursive: true });
      await symlink(system.adminDataDir, join(workspace.path, '.azaion', 'demo', 'admin-api'));
      await copyFile(
        join(system.adminDataDir, 'keys', 'kek'),
        join(workspace.path, '.azaion', 'demo', 'admin-keys', 'kek'),
      );
      expect(await proveSplitIn(workspace.path, {})).toMatchObject({ ok: true });
    } finally {
      await workspace.remove();
    }
  });

  it('fails when the KEK stands in a row of the database', async () => {
    const kek = (await readFile(join(system.adminDataDir, 'keys', 'kek'), 'utf8')).trim();
    const database = await connectToEmbeddedDatabase(system.adminDataDir);
    const leaked = `/keys/kek ${kek}`;
    try {
      await database.query('insert into rate_limits (key, count, resets_at) values ($1, 1, now())', [leaked]);
      const { ok, error } = await proveSplit('--data', system.adminDataDir);
      expect([ok, error?.exitStatus]).toEqual([false, 6]);
      expect(error?.message).toMatch(
        /the whole database, nothing else: RECOVERED from: .*(?:signing_keys|versions|service_secrets) /,
      );
    } finally {
      await database.query('delete from rate_limits where key = $1', [leaked]);
      await database.end();
    }
  });

  it('fails, with an exit status that scripts see, where a store does give something away', async () => {
    const leak = join(system.adminDataDir, 'objects', 'left-behind');
    await writeFile(leak, content.subarray(100_000, 300_000));
    const { ok, error } = await proveSplit('--data', system.adminDataDir);
    await rm(leak);
    expect([ok, error?.code, error?.exitStatus]).toEqual([false, 'prove-split.failed', 6]);
    expect(error?.message).toContain('left-behind');
  });
});
