import { copyFile, mkdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** A program in an image that no package manager brought. */
export interface ForeignProgram {
  /** Where it comes from, as https://github.com/package-url/purl-spec writes it, without a version. */
  readonly purl: string;
  readonly source: string;
  /** As https://spdx.org/licenses names it. */
  readonly license: 'Apache-2.0' | 'MIT';
  /** What its licence asks to be passed on: who made it, or its notice. */
  readonly notice: string;
}

const MIT = `Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation files (the "Software"), to
deal in the Software without restriction, including without limitation the rights to use, copy, modify, merge, publish, distribute, sublicense, and/or
sell copies of the Software, and to permit persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS
FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY,
WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.`;

/** Debian has the texts of common licences here; what it says about its packages refers to them. */
export const LICENSES = '/usr/share/common-licenses';
/** The official images of Node have its licence here, with those of what is built into it. */
const NODE_LICENSE = '/usr/local/LICENSE';

/** By their names as commands. */
const FOREIGN_PROGRAMS: Readonly<Record<string, ForeignProgram>> = {
  node: {
    purl: 'pkg:generic/node',
    source: 'https://github.com/nodejs/node',
    license: 'MIT',
    notice: 'Copyright Node.js contributors. All rights reserved.',
  },
  docker: {
    purl: 'pkg:golang/github.com/docker/cli',
    source: 'https://github.com/docker/cli',
    license: 'Apache-2.0',
    notice:
      'Docker, Copyright 2012-2017 Docker, Inc. This product includes software developed at Docker, Inc. (https://www.docker.com).',
  },
  'docker-compose': {
    purl: 'pkg:golang/github.com/docker/compose/v2',
    source: 'https://github.com/docker/compose',
    license: 'Apache-2.0',
    notice:
      'Docker Compose V2, Copyright 2020 Docker Compose authors. This product includes software developed at Docker, Inc. (https://www.docker.com).',
  },
};

/** @throws Error for a program of which nobody has written down where it comes from. */
export function foreignProgram(name: string): ForeignProgram {
  const known = FOREIGN_PROGRAMS[name];
  if (known === undefined) throw new Error(`Nobody has written down where the program "${name}" comes from.`);
  return known;
}

/**
 * Writes about each program what its licence asks for to where Debian has the same of its packages: `/usr/share/doc`.
 *
 * @param directory - The root file system.
 * @param versions - By the names of the programs.
 * @throws as {@link foreignProgram}.
 */
export async function describeForeignPrograms(
  directory: string,
  versions: Readonly<Record<string, string>>,
): Promise<void> {
  for (const [name, version] of Object.entries(versions)) {
    const { source, license, notice } = foreignProgram(name);
    const place = join(directory, 'usr/share/doc', name);
    await mkdir(place, { recursive: true });
    const text = license === 'MIT' ? MIT : `The text of the licence is in ${join(LICENSES, license)}.`;
    const lines = [`${name} ${version}, ${source}`, notice, `Licence: ${license}`, '', text, ''];
    await writeFile(join(place, 'copyright'), lines.join('\n'));
    const ownText = await stat(NODE_LICENSE).catch(() => undefined);
    if (name === 'node' && ownText !== undefined) await copyFile(NODE_LICENSE, join(place, 'LICENSE'));
  }
}
