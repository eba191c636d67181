import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';

import { tryLock } from '@azaion/adapters/file-lock';

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
    const lock = await tryLock(`${path}.pid`);
    if (lock === undefined) continue;
    await mkdir(path, { recursive: true, mode: 0o700 });
    return { path, release: () => lock.release() };
  }
  throw new Error('too many processes use the cache');
}
