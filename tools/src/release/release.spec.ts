import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readdir, readFile, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { Spec, Validation } from '@cyclonedx/cyclonedx-library';

import { answersHttp, freePort, startProcess, type TempDirectory, tempDirectory } from '@azaion/testing';

import { WORKSPACE } from '../started-service.js';
import type { BillOfMaterials } from './bill-of-materials.js';

const run = promisify(execFile);
const APPS = ['admin-api', 'cli', 'loader'] as const;
const ADMINISTRATOR = { email: 'root@example.com', password: 'correct horse battery' };
const RELEASE_TIMEOUT_MS = 120_000;

async function filesBelow(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}

async function digestOf(directory: string): Promise<string> {
  const hash = createHash('sha256');
  for (const path of (await filesBelow(directory)).sort())
    hash.update(path.slice(directory.length)).update(await readFile(path));
  return hash.digest('hex');
}

describe('what is delivered of the apps', () => {
  let directory: TempDirectory;
  const release = (to: string, ...apps: readonly string[]): Promise<unknown> =>
    run(process.execPath, [join(WORKSPACE, 'tools', 'dist', 'release.js'), '--directory', to, ...apps], {
      timeout: RELEASE_TIMEOUT_MS,
    });
  const bill = async (app: string): Promise<BillOfMaterials> =>
    JSON.parse(await readFile(join(directory.path, app, 'bom.cdx.json'), 'utf8')) as BillOfMaterials;

  beforeAll(async () => {
    directory = await tempDirectory('azaion-release');
    await release(directory.path);
    // In an image `npm ci` puts beside the bundle what it needs; here the workspace lends it.
    for (const app of APPS) await symlink(join(WORKSPACE, 'node_modules'), join(directory.path, app, 'node_modules'));
  });
  afterAll(() => directory.remove());

  it('is the same, byte for byte, when it is made again', async () => {
    const again = await tempDirectory('azaion-release');
    await release(again.path, 'loader');
    expect(await digestOf(join(again.path, 'loader'))).toBe(await digestOf(join(directory.path, 'loader')));
    await again.remove();
  });

  describe.each(APPS)('of %s', (app) => {
    it('is code without sources, maps, comments or tests', async () => {
      const files = await filesBelow(join(directory.path, app));
      expect(files.filter((path) => /\.(?:map|ts|tsbuildinfo)$|\.spec\.|\/src\//.test(path))).toEqual([]);
      for (const path of files.filter((one) => one.includes('/dist/'))) {
        const text = await readFile(path, 'utf8');
        expect(text).not.toContain('sourceMappingURL');
        expect(text).not.toContain('@azaion/source');
        expect(text).not.toMatch(/^\s*\/\*\*/m);
      }
    });

    it('says of every package which licence it has, and gives its text where there is one', async () => {
      const text = await readFile(join(directory.path, app, 'THIRD-PARTY-LICENSES.txt'), 'utf8');
      for (const { name, version } of (await bill(app)).components)
        expect(text).toContain(`${name} ${version}\nLicence: `);
      expect(text).toContain('Permission is hereby granted, free of charge');
    });

    it('has a bill of materials that CycloneDX accepts, with versions and digests as they are locked', async () => {
      const text = await readFile(join(directory.path, app, 'bom.cdx.json'), 'utf8');
      const validator = new Validation.JsonStrictValidator(Spec.Version.v1dot6);
      expect(await validator.validate(text)).toBeNull();
      const lockfile = JSON.parse(await readFile(join(WORKSPACE, 'package-lock.json'), 'utf8')) as {
        packages: Record<string, { version: string; integrity?: string }>;
      };
      const locked = new Map(
        Object.entries(lockfile.packages).map(([path, { version, integrity = '' }]) => [
          `${path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length)}@${version}`,
          Buffer.from(integrity.slice('sha512-'.length), 'base64').toString('hex'),
        ]),
      );
      const { components } = await bill(app);
      expect(components.length).toBeGreaterThan(5);
      for (const { name, version, hashes } of components)
        expect(hashes).toEqual([{ alg: 'SHA-512', content: locked.get(`${name}@${version}`) }]);
    });

    it('explains itself when it is asked', async () => {
      const { stdout } = await run(process.execPath, [join(directory.path, app, 'dist', 'main.js'), '--help'], {
        cwd: '/',
      });
      expect(stdout).toContain('Usage: ');
    });
  });

  it('logs in and serves, with the same description of its API as what was compiled, from an Admin API', async () => {
    const describe = async (main: string): Promise<unknown> => {
      const port = await freePort();
      const data = await tempDirectory('azaion-release-data');
      const service = await startProcess({
        command: process.execPath,
        args: [main],
        env: {
          ADMIN_HOST: '127.0.0.1',
          ADMIN_PORT: String(port),
          ADMIN_DATA_DIR: data.path,
          BOOTSTRAP_ADMIN_EMAIL: ADMINISTRATOR.email,
          BOOTSTRAP_ADMIN_PASSWORD: ADMINISTRATOR.password,
          LOG_LEVEL: 'error',
        },
        ready: answersHttp(`http://127.0.0.1:${port}/health/ready`),
        readyTimeoutMs: RELEASE_TIMEOUT_MS,
      });
      try {
        const page = await fetch(`http://127.0.0.1:${port}/docs/swagger-ui-bundle.js`);
        expect(page.status).toBe(200);
        // Through validation, native code and the database.
        const login = await fetch(`http://127.0.0.1:${port}/login`, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify(ADMINISTRATOR),
        });
        expect(await login.json()).toMatchObject({ access_token: expect.any(String) as string });
        return await (await fetch(`http://127.0.0.1:${port}/docs/json`)).json();
      } finally {
        await service.stop();
        await data.remove();
      }
    };
    expect(await describe(join(directory.path, 'admin-api', 'dist', 'main.js'))).toEqual(
      await describe(join(WORKSPACE, 'apps', 'admin-api', 'dist', 'main.js')),
    );
  });
});
