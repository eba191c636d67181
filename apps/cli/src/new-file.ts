import { type FileHandle, lstat, open, rm } from 'node:fs/promises';

import { type CliFailure, usageFailure } from './cli-failure.js';
import { systemErrorCode } from './failure-table.js';
import { unwritable } from './whole-file.js';

/** Refuses a path that is taken, a dangling link too: for commands that do something elsewhere before they write. @throws CliFailure exit `usage`. */
export async function assertFree(path: string): Promise<void> {
  const taken = await lstat(path).then(
    () => true,
    (error: unknown) => {
      if (systemErrorCode(error) === 'ENOENT') return false;
      throw unwritable(path, error);
    },
  );
  if (taken) throw isThere(path);
}

/**
 * Writes a file that must not be there yet, and waits until it is on the disk. A file that could not be written whole is removed.
 *
 * @param mode - Its permissions, of which the umask may take some.
 * @throws CliFailure exit `usage` when there is something of that name, or the place cannot be written to; `ENOSPC` as it is.
 */
export async function writeNewFile(path: string, content: string | Uint8Array, mode: number): Promise<void> {
  const file = await open(path, 'wx', mode).catch((error: unknown) => {
    throw systemErrorCode(error) === 'EEXIST' ? isThere(path) : unwritable(path, error);
  });
  try {
    await filled(file, content);
  } catch (error) {
    await rm(path, { force: true });
    throw error;
  }
}

async function filled(file: FileHandle, content: string | Uint8Array): Promise<void> {
  try {
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
}

function isThere(path: string): CliFailure {
  return usageFailure(`${path} is there already: it is not written over.`, 'Choose another name with -o.');
}
