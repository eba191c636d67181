import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, open, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

import { isBundlePath, MANIFEST_PATH, parseManifest, ResourceError } from '@azaion/split-resource';
import { extract, pack } from 'tar-stream';

import { MAX_BUNDLED_FILE_BYTES } from './directory-bundle.js';

/**
 * Writes a bundle's directory into one file, manifest first. The same bundle gives the same bytes.
 *
 * @param path - Must not exist; removed when this fails.
 */
export async function packBundle(directory: string, path: string, signal?: AbortSignal): Promise<void> {
  const file = await open(path, 'wx', 0o644);
  await file.close();
  try {
    const manifest = await textOf(join(directory, MANIFEST_PATH));
    const tar = pack();
    const written = pipeline(tar, createWriteStream(path));
    const paths = [MANIFEST_PATH, ...parseManifest(manifest).files.map((each) => each.path)];
    const add = async (): Promise<void> => {
      for (const name of paths) {
        const { size } = await stat(join(directory, name));
        const entry = tar.entry({ name, size, mode: 0o644, mtime: new Date(0) });
        await pipeline(createReadStream(join(directory, name)), entry, { signal });
      }
      tar.finalize();
    };
    await Promise.all([
      written,
      add().catch((error: unknown) => {
        tar.destroy(error as Error);
        throw error;
      }),
    ]);
  } catch (error) {
    await rm(path, { force: true });
    throw error;
  }
}

/**
 * Takes a bundle's file apart into a directory. Only the paths of a bundle are written, each once, as plain files; whatever else an archive may hold is refused.
 *
 * @param archive - Untrusted bytes of a tar file.
 * @param directory - Made when it is missing; what was written stays when this fails.
 * @throws ResourceError `bundle.invalid`.
 */
export async function unpackBundle(archive: Readable, directory: string): Promise<void> {
  const entries = extract();
  const fed = pipeline(archive, entries);
  const seen = new Set<string>();
  const write = async (): Promise<void> => {
    for await (const entry of entries) {
      const { name, type, size } = entry.header;
      if (
        type !== 'file' ||
        (name !== MANIFEST_PATH && !isBundlePath(name)) ||
        size > MAX_BUNDLED_FILE_BYTES ||
        seen.has(name)
      )
        throw new ResourceError('bundle.invalid', 'The file holds something that no bundle has.');
      seen.add(name);
      const path = join(directory, name);
      await mkdir(dirname(path), { recursive: true, mode: 0o755 });
      await pipeline(entry, createWriteStream(path, { mode: 0o644 }));
    }
  };
  try {
    await Promise.all([fed, write()]);
  } catch (cause) {
    entries.destroy();
    if (cause instanceof ResourceError || (cause instanceof Error && 'syscall' in cause)) throw cause;
    throw new ResourceError('bundle.invalid', 'The file is not a whole tar archive.', { cause });
  }
  if (!seen.has(MANIFEST_PATH)) throw new ResourceError('bundle.invalid', `The file holds no ${MANIFEST_PATH}.`);
}

async function textOf(path: string): Promise<string> {
  const file = await open(path, 'r');
  try {
    return await file.readFile('utf8');
  } finally {
    await file.close();
  }
}
