import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

import { type Lockfile, packageNameOf } from './locked-packages.js';

/** Somebody else's package that is delivered with an app. */
export interface DeliveredPackage {
  readonly name: string;
  readonly version: string;
  /** SPDX expression. */
  readonly license: string;
  /** What the package says about its licence, file after file; empty when it brings no such file. */
  readonly licenseText: string;
  /** As `package-lock.json` has it: `sha512-…` in base64. */
  readonly integrity: string | undefined;
  /** Names of the delivered packages that it needs. */
  readonly needs: readonly string[];
}

/** What of a package.json is read; older packages write licences in two more ways. */
interface Manifest {
  readonly license?: string | { readonly type?: string };
  readonly licenses?: readonly { readonly type?: string }[];
}

/** Packages whose package.json says nothing: what a person read in their texts. */
const READ_BY_A_PERSON: Readonly<Record<string, string>> = { 'pause@0.0.1': 'MIT' };

const LICENSE_FILE = /^(licen[cs]e|copying|notice)\b.*(?<!\.[cm]?js|\.ts|\.json)$/i;

/**
 * Describes the packages in these directories of the workspace, each version once, in the order of the alphabet. A package for another platform is not
 * installed: of it only what is locked is known.
 *
 * @throws Error when one has no licence.
 */
export async function deliveredPackages(
  workspace: string,
  lockfile: Lockfile,
  directories: readonly string[],
): Promise<DeliveredPackage[]> {
  const names = new Set(directories.map(packageNameOf));
  const versions = new Map(
    directories.toSorted().map((directory) => {
      const name = packageNameOf(directory);
      const locked = lockfile.packages[directory];
      if (locked === undefined) throw new Error(`The package ${name} is not in package-lock.json: run "npm install".`);
      return [`${name}@${locked.version}`, { name, locked, directory }];
    }),
  );
  return Promise.all(
    [...versions.values()].map(async ({ name, locked, directory }) => {
      const license =
        locked.license ??
        READ_BY_A_PERSON[`${name}@${locked.version}`] ??
        (await declaredLicense(join(workspace, directory)));
      if (license === undefined)
        throw new Error(
          `${name}@${locked.version} does not say which licence it has: read its text, and write it down.`,
        );
      return {
        name,
        version: locked.version,
        license,
        licenseText: await licenseTextIn(join(workspace, directory)),
        integrity: locked.integrity,
        needs: Object.keys({ ...locked.dependencies, ...locked.optionalDependencies }).filter((need) =>
          names.has(need),
        ),
      };
    }),
  );
}

async function declaredLicense(directory: string): Promise<string | undefined> {
  const { license, licenses } = JSON.parse(await readFile(join(directory, 'package.json'), 'utf8')) as Manifest;
  return typeof license === 'string' ? license : (license?.type ?? licenses?.[0]?.type);
}

async function licenseTextIn(directory: string): Promise<string> {
  const entries = await readdir(directory, { withFileTypes: true }).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  });
  const files = entries.filter((entry) => entry.isFile() && LICENSE_FILE.test(entry.name)).map(({ name }) => name);
  const texts = await Promise.all(files.sort().map((file) => readFile(join(directory, file), 'utf8')));
  return texts.map((text) => text.trim()).join('\n\n');
}
