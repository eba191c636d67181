import { createWriteStream } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';

import { MANIFEST_PATH, MAX_MANIFEST_BYTES, parseManifest, ResourceError } from '@azaion/split-resource';

import { DirectoryBundle } from './directory-bundle.js';

/**
 * Copies what the manifest of a bundle's directory names, and nothing else that lies in it.
 *
 * @param from - Untrusted: what it holds is copied as it is, to be verified at its new place.
 * @param to - What was written stays when this fails.
 * @throws ResourceError `bundle.invalid` | `bundle.unsupported-format` | `resource.integrity` when a file is missing; Error of the file system.
 */
export async function copyBundle(from: string, to: string, signal?: AbortSignal): Promise<void> {
  const bundle = new DirectoryBundle(from);
  const { files } = parseManifest((await bundle.read(MANIFEST_PATH, MAX_MANIFEST_BYTES)).toString('utf8'));
  for (const path of [MANIFEST_PATH, ...files.map((each) => each.path)]) {
    const file = await bundle.open(path);
    if (file === undefined)
      throw new ResourceError(
        'resource.integrity',
        `The file ${path} of the bundle is missing: copy the bundle again.`,
        {
          details: { path },
        },
      );
    await mkdir(dirname(join(to, path)), { recursive: true, mode: 0o755 });
    // The stream closes the file, also after an error.
    await pipeline(file.createReadStream(), createWriteStream(join(to, path), { flags: 'wx', mode: 0o644 }), {
      signal,
    });
  }
}
