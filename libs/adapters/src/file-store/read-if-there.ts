import { readdir, readFile } from 'node:fs/promises';

import { systemCode } from './file-errors.js';

/** The text of a file, `undefined` when there is none. @throws what else the file system says. */
export async function readTextIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** What a directory holds, nothing when there is none. @throws what else the file system says. */
export async function namesIn(directory: string): Promise<readonly string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return [];
    throw error;
  }
}
