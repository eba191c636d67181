import { randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, link, mkdir, open, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';

import { IdentityError } from '@azaion/identity';

const FILE_MODE = 0o600;
const OTHERS = 0o077;

/**
 * Reads a file with keys.
 *
 * @returns `undefined` when there is none.
 * @throws IdentityError `device.key-store` for a file that is too long, open to other users or no file; what the file system says as it is.
 */
async function readKeyFile(path: string, mostBytes: number): Promise<string | undefined> {
  let file: FileHandle;
  try {
    file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  try {
    const stat = await file.stat();
    if (!stat.isFile() || stat.size > mostBytes) throw damagedKeyFile();
    if ((stat.mode & OTHERS) !== 0)
      throw keyStoreError('Other users may read the file with the device keys: set its mode to 0600.');
    return await file.readFile('utf8');
  } finally {
    await file.close();
  }
}

/** The JSON value in a file with keys, unchecked. @returns `undefined` when there is none. @throws as {@link readKeyFile}; `device.key-store` for no JSON. */
export async function readKeyJson(path: string, mostBytes: number): Promise<{ readonly value: unknown } | undefined> {
  const text = await readKeyFile(path, mostBytes);
  if (text === undefined) return undefined;
  try {
    return { value: JSON.parse(text) };
  } catch {
    throw damagedKeyFile();
  }
}

/** Writes beside the file and links into place: the file appears whole or not at all, and never replaces another. @returns Whether it was this one. */
export async function createKeyFile(path: string, text: string): Promise<boolean> {
  const directory = dirname(path);
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const draft = join(directory, `.keys-${randomUUID()}`);
  try {
    await writeDurably(draft, text);
    await link(draft, path);
    await syncDirectory(directory);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    return false;
  } finally {
    await rm(draft, { force: true });
  }
}

/** The refusal of a file with keys that cannot be understood. Without a cause: a parser quotes what it read. */
export function damagedKeyFile(): IdentityError {
  return keyStoreError('The file with the device keys is damaged: restore it, or remove it and have the device reset.');
}

/** The refusal of a file with keys, in a sentence for the operator. */
export function keyStoreError(message: string, cause?: unknown): IdentityError {
  return new IdentityError('device.key-store', message, { cause });
}

async function writeDurably(path: string, text: string): Promise<void> {
  const file = await open(path, 'wx', FILE_MODE);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, constants.O_RDONLY);
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
