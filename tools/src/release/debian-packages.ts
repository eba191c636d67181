import { readdir, readFile, realpath } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

/** A package of Debian, as the system that it is installed on describes it. */
export interface DebianPackage {
  readonly name: string;
  readonly version: string;
  readonly architecture: string;
  /** What `/var/lib/dpkg/status` says about it. */
  readonly stanza: string;
}

const DPKG = '/var/lib/dpkg';

/**
 * The packages that these files of this system come from, in the order of their names; what no package brought is left out.
 *
 * @param paths - Absolute.
 */
export async function packagesOf(paths: readonly string[]): Promise<readonly DebianPackage[]> {
  const wanted = new Set(await Promise.all(paths.map((path) => realpath(path))));
  const owners = new Set<string>();
  const places = new Map<string, string>();
  for (const file of await readdir(join(DPKG, 'info'))) {
    if (!file.endsWith('.list')) continue;
    const owner = basename(file, '.list').replace(/:.*$/, '');
    for (const path of (await readFile(join(DPKG, 'info', file), 'utf8')).split('\n'))
      if (path !== '' && wanted.has(await canonical(path, places))) owners.add(owner);
  }
  const stanzas = (await readFile(join(DPKG, 'status'), 'utf8')).split('\n\n').map(packageIn);
  return stanzas
    .flatMap((found) => (found !== undefined && owners.has(found.name) ? [found] : []))
    .toSorted((one, other) => (one.name < other.name ? -1 : 1));
}

/** Lists name files where they were before `/bin` and `/lib` became links. */
async function canonical(path: string, places: Map<string, string>): Promise<string> {
  const directory = dirname(path);
  const known = places.get(directory);
  const place = known ?? (await realpath(directory).catch(() => directory));
  if (known === undefined) places.set(directory, place);
  return join(place, basename(path));
}

function packageIn(stanza: string): DebianPackage | undefined {
  const field = (name: string): string | undefined => new RegExp(`^${name}: (.*)$`, 'm').exec(stanza)?.[1];
  const [name, version, architecture] = [field('Package'), field('Version'), field('Architecture')];
  return name === undefined || version === undefined || architecture === undefined
    ? undefined
    : { name, version, architecture, stanza: `${stanza.trim()}\n` };
}
