import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { billOfMaterials } from './bill-of-materials.js';
import { bundleApp } from './bundle-app.js';
import { deliveredPackages } from './delivered-package.js';
import { closureOf, type Lockfile, packageDirectoryOf } from './locked-packages.js';
import { type ReleasedApp, RELEASED_APPS, type ReleasedAppName } from './released-apps.js';
import { thirdPartyLicenses } from './third-party-licenses.js';

/** What was written. */
export interface WrittenRelease {
  readonly directory: string;
  /** All bundled code. */
  readonly bundledBytes: number;
  /** How many packages of others are in it or needed beside it. */
  readonly components: number;
}

/** The package.json of an app. */
interface Manifest {
  readonly name: string;
  readonly version: string;
}

/**
 * Writes what is delivered of a compiled app: `dist` with the bundle, a package.json and a package-lock.json with the packages that must be installed
 * beside it (`npm ci`), the licences and the bill of materials of all that is in either.
 *
 * @param directory - Is replaced.
 * @throws Error when the app was not compiled, or holds what must not be delivered.
 */
export async function writeRelease(
  workspace: string,
  name: ReleasedAppName,
  directory: string,
): Promise<WrittenRelease> {
  const app: ReleasedApp = RELEASED_APPS[name];
  const lockfile = await readJson<Lockfile>(join(workspace, 'package-lock.json'));
  const { name: packageName, version } = await readJson<Manifest>(join(workspace, 'apps', name, 'package.json'));
  await rm(directory, { recursive: true, force: true });
  await mkdir(directory, { recursive: true });

  const bundle = await bundleApp(workspace, name, app, directory);
  for (const file of app.files)
    await cp(join(workspace, 'apps', name, file), join(directory, file), { recursive: true });

  const beside = closureOf(lockfile, app.packages);
  const bundled = bundle.inputs.flatMap((path) => packageDirectoryOf(path) ?? []);
  const packages = await deliveredPackages(workspace, lockfile, [...bundled, ...beside]);
  await writeFile(join(directory, 'THIRD-PARTY-LICENSES.txt'), thirdPartyLicenses(packages));
  await writeJson(join(directory, 'bom.cdx.json'), billOfMaterials({ name: packageName, version }, packages));

  const identity = { name: packageName, version };
  const dependencies = Object.fromEntries(
    app.packages.map((wanted) => [wanted, lockfile.packages[`node_modules/${wanted}`]?.version]),
  );
  await writeJson(join(directory, 'package.json'), {
    ...identity,
    private: true,
    type: 'module',
    license: 'UNLICENSED',
    engines: { node: '>=24' },
    ...(app.bin === undefined ? {} : { bin: app.bin }),
    dependencies,
    scarfSettings: { enabled: false },
  });
  await writeJson(join(directory, 'package-lock.json'), {
    ...identity,
    lockfileVersion: 3,
    requires: true,
    packages: { '': { ...identity, dependencies }, ...lockedAlone(lockfile, beside) },
  });
  return { directory, bundledBytes: bundle.sizeBytes, components: packages.length };
}

/** What says that a package is for development only: beside the bundle none is. */
const DEVELOPMENT_MARKS = ['dev', 'devOptional', 'peer'];

function lockedAlone({ packages }: Lockfile, directories: readonly string[]): Lockfile['packages'] {
  return Object.fromEntries(
    directories.map((directory) => {
      const entries = Object.entries(packages[directory] ?? {});
      return [directory, Object.fromEntries(entries.filter(([key]) => !DEVELOPMENT_MARKS.includes(key)))];
    }),
  ) as unknown as Lockfile['packages'];
}

async function readJson<T>(path: string): Promise<T> {
  return JSON.parse(await readFile(path, 'utf8')) as T;
}

async function writeJson(path: string, value: unknown): Promise<void> {
  await writeFile(path, `${JSON.stringify(value, undefined, 2)}\n`);
}
