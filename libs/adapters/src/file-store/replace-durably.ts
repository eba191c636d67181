import { randomUUID } from 'node:crypto';
import { mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';

import { orNoSpace } from './file-errors.js';

/**
 * Replaces a file as a whole: after a crash or a power cut it is the old one or the new one, and once this resolves, the new one.
 * Only the owner may read it. Directories are made when they are missing. Who calls it twice for one path at the same time gets one of both.
 *
 * @throws ResourceError `resource.no-space`, with the old file in place and nothing beside it; what else the file system says as it is.
 */
export async function replaceDurably(path: string, content: string | Uint8Array): Promise<void> {
  const directory = dirname(path);
  const temporary = `${path}.${randomUUID()}.tmp`;
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const file = await open(temporary, 'wx', 0o600);
    try {
      await file.writeFile(content);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw orNoSpace(error);
  }
  // The new name is on the disk only with its directory.
  const parent = await open(directory, 'r');
  try {
    await parent.sync();
  } finally {
    await parent.close();
  }
}
