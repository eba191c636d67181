import { mkdir, open, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';

import { systemErrorCode } from './failure-table.js';

const MAX_DIRECTORIES = 64;

/** A directory that no other running process uses. */
export interface ClaimedDirectory {
  readonly path: string;
  /** Lets others have it; what lies in it stays. */
  release(): Promise<void>;
}

/**
 * Takes the first directory of a row of numbered ones that no running process has taken. A command that was cut off leaves its downloads
 * there for the next one.
 *
 * @throws Error when 64 processes use the row at once.
 */
export async function claimDirectory(parent: string): Promise<ClaimedDirectory> {
  await mkdir(parent, { recursive: true, mode: 0o700 });
  for (let number = 0; number < MAX_DIRECTORIES; number += 1) {
    const path = join(parent, String(number));
    const lock = `${path}.pid`;
    if (await hasOwner(lock)) continue;
    try {
      const file = await open(lock, 'wx', 0o600);
      await file.writeFile(String(process.pid));
      await file.close();
    } catch (error) {
      if (systemErrorCode(error) === 'EEXIST') continue; // somebody was faster
      throw error;
    }
    await mkdir(path, { recursive: true, mode: 0o700 });
    return { path, release: () => rm(lock, { force: true }) };
  }
  throw new Error('too many processes use the cache');
}

/** Whether a running process holds the lock; the lock of a dead one is removed. */
async function hasOwner(lock: string): Promise<boolean> {
  const text = await readFile(lock, 'utf8').catch(() => undefined);
  if (text === undefined) return false;
  if (text === '') return true; // being written right now
  try {
    process.kill(Number(text), 0);
    return true;
  } catch (error) {
    if (systemErrorCode(error) === 'EPERM') return true;
    await rm(lock, { force: true });
    return false;
  }
}
