import { execFile } from 'node:child_process';
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { delimiter, dirname, join } from 'node:path';

import { pseudoRandomBytes, tempDirectory } from '@azaion/testing';

import { installPackedCli, packCli } from '../release/pack-cli.js';
import { WORKSPACE } from '../started-service.js';
import { type StartedSystem, startSystem } from './started-system.js';

/** Large enough for the threads that come with the package. */
const CONTENT = pseudoRandomBytes('packed', 20_000_000);

interface Ended {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

describe('the CLI packed as an npm tarball, installed without a network in an empty directory', () => {
  let directory: Awaited<ReturnType<typeof tempDirectory>>;
  let system: StartedSystem;
  let command: string;
  let tarball: string;
  const at = (...parts: string[]): string => join(directory.path, ...parts);

  function azaion(...args: string[]): Promise<Ended> {
    const env = {
      // Nothing of the workspace but its Node: what the package needs, it brings.
      PATH: [dirname(process.execPath), '/usr/bin', '/bin'].join(delimiter),
      HOME: at('home'),
      LOADER_DATA_DIR: at('home', 'data'),
      DEVICE_CONF: at('home', 'device.conf'),
      AZAION_PASSWORD: system.administrator.password,
    };
    return new Promise((resolve) => {
      execFile(command, args, { cwd: at('home'), env }, (error, stdout, stderr) => {
        resolve({ status: typeof error?.code === 'number' ? error.code : error === null ? 0 : 1, stdout, stderr });
      });
    });
  }

  beforeAll(async () => {
    directory = await tempDirectory('azaion-packed');
    await mkdir(at('home'));
    await mkdir(at('installed'));
    tarball = await packCli(WORKSPACE, at());
    [command, system] = await Promise.all([installPackedCli(tarball, at('installed')), startSystem()]);
  }, 180_000);
  afterAll(async () => {
    await system.stop();
    await directory.remove();
  });

  it('holds one bundle with licences and bill of materials, and neither sources nor maps nor other packages', async () => {
    const files = await readdir(at('installed', 'node_modules'), { recursive: true });
    expect(files).toEqual(expect.arrayContaining(['@azaion/cli/dist/main.js', '@azaion/cli/THIRD-PARTY-LICENSES.txt']));
    expect(files.filter((file) => /\.(?:ts|map|tsbuildinfo)$/.test(file))).toEqual([]);
    expect(files.filter((file) => !/^(?:@azaion(?:\/cli.*)?|\.bin.*|\.package-lock\.json)$/.test(file))).toEqual([]);
    expect((await stat(tarball)).size).toBeLessThan(4_000_000);
  });

  it('tells its version', async () => {
    const { version } = JSON.parse(await readFile(join(WORKSPACE, 'apps', 'cli', 'package.json'), 'utf8')) as {
      version: string;
    };
    expect(await azaion('--version')).toEqual({ status: 0, stdout: `${version}\n`, stderr: '' });
  });

  it('knows its commands, and completes them', async () => {
    const { status, stdout } = await azaion('fetch', '--help');
    expect({ status, stdout }).toMatchObject({ status: 0, stdout: expect.stringContaining('--force') as string });
    expect((await azaion('completion', 'bash')).stdout).toContain('-F _azaion azaion');
  });

  it('looks at the machine with everything that it brings', async () => {
    const { status, stdout } = await azaion('doctor', '--api', system.adminUrl, '--json');
    const { findings } = JSON.parse(stdout) as { findings: { check: string; state: string }[] };
    expect([0, 8]).toContain(status);
    expect(findings.find(({ check }) => check === 'api')).toMatchObject({ state: 'ok' });
    expect(findings.map(({ check }) => check)).toEqual(
      expect.arrayContaining(['binding', 'disk', 'engine', 'permissions', 'tpm']),
    );
  });

  it('publishes on its threads and fetches the same bytes', async () => {
    await writeFile(at('home', 'model.bin'), CONTENT);
    for (const args of [
      ['login', '--api', system.adminUrl, '--email', system.administrator.email],
      ['publish', 'model.bin'],
      ['fetch', 'models/model.bin', '-o', 'fetched.bin'],
    ])
      expect(await azaion(...args)).toMatchObject({ status: 0 });
    expect((await readFile(at('home', 'fetched.bin'))).equals(CONTENT)).toBe(true);
  });

  it('keeps the tokens in a file that only its owner may read', async () => {
    const { mode } = await stat(at('home', '.config', 'azaion', 'profile.json'));
    expect(mode & 0o777).toBe(0o600);
  });
});
