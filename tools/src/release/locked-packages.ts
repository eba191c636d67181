/** A package as `package-lock.json` has it. */
export interface LockedPackage {
  readonly version: string;
  readonly integrity?: string;
  readonly license?: string;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

/** The part of `package-lock.json` (version 3) that is read here: packages by the directory that they are installed in. */
export interface Lockfile {
  readonly packages: Readonly<Record<string, LockedPackage>>;
}

const MODULES = 'node_modules/';

/** The directory of the package that a file belongs to; `undefined` for files of the workspace itself. */
export function packageDirectoryOf(path: string): string | undefined {
  const at = path.lastIndexOf(MODULES);
  if (at < 0) return undefined;
  const [first = '', second = ''] = path.slice(at + MODULES.length).split('/');
  return path.slice(0, at) + MODULES + (first.startsWith('@') ? `${first}/${second}` : first);
}

/** The name of the package in a directory. */
export function packageNameOf(directory: string): string {
  return directory.slice(directory.lastIndexOf(MODULES) + MODULES.length);
}

/**
 * The directories of these packages and of everything that they need, also what is for other platforms.
 *
 * @throws Error when one is not locked.
 */
export function closureOf(lockfile: Lockfile, names: readonly string[]): string[] {
  const found = new Set<string>();
  const waiting = names.map((name) => ({ name, from: '', optional: false }));
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const directory = installedFor(lockfile, next.name, next.from);
    if (directory === undefined) {
      if (next.optional) continue;
      throw new Error(`The package ${next.name} is not in package-lock.json: run "npm install".`);
    }
    if (found.has(directory)) continue;
    found.add(directory);
    const { dependencies = {}, optionalDependencies = {} } = lockfile.packages[directory] ?? {};
    for (const name of Object.keys({ ...dependencies, ...optionalDependencies }))
      waiting.push({ name, from: directory, optional: Object.hasOwn(optionalDependencies, name) });
  }
  return [...found].sort();
}

/** Where Node finds a package for a package: in it, or in one of the directories around it. */
function installedFor({ packages }: Lockfile, name: string, from: string): string | undefined {
  const around = from === '' ? [] : from.split(`/${MODULES}`);
  for (let depth = around.length; depth >= 0; depth--) {
    const directory = [...around.slice(0, depth), ''].join(`/${MODULES}`) || MODULES;
    if (Object.hasOwn(packages, directory + name)) return directory + name;
  }
  return undefined;
}
