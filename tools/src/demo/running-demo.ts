import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';

import { type FileLock, lockOwner, tryLock } from '@azaion/adapters/file-lock';

/**
 * Takes a directory for this run of the demo: a second one in it would take its database over. The lock lies beside the directory, which a fresh
 * start deletes.
 *
 * @throws Error that names the process that has it.
 */
export async function claimDemoDirectory(directory: string): Promise<FileLock> {
  const path = `${directory}.lock`;
  await mkdir(dirname(path), { recursive: true });
  const lock = await tryLock(path);
  if (lock !== undefined) return lock;
  throw new Error(
    `A demo runs on this data already (process ${(await lockOwner(path)) ?? 'unknown'}): use it, stop it with Ctrl-C, or choose another directory with --data.`,
  );
}
