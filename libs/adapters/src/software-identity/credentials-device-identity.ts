import { randomUUID } from 'node:crypto';
import { type FileHandle, link, mkdir, open, rm } from 'node:fs/promises';
import { constants } from 'node:fs';
import { dirname, join } from 'node:path';

import {
  generateSoftwareKeys,
  IdentityError,
  isSoftwareKeys,
  SoftwareDeviceIdentity,
  type SoftwareKeys,
} from '@azaion/identity';

const FILE_MODE = 0o600;
const OTHERS = 0o077;
const MAX_FILE_BYTES = 4096;

/**
 * The binding `credentials`: both private keys stand in one file that only its owner can read. Whoever copies the file is the device: for
 * development and servers.
 */
export class CredentialsDeviceIdentity extends SoftwareDeviceIdentity {
  /**
   * Opens the keys, or makes them when there is no file. Several processes may do so at the same time: one pair wins.
   *
   * @param path - The key file. Its directory is made when missing.
   * @throws IdentityError `device.key-store` for a file that is damaged, open to other users, a link or not readable. It is never replaced.
   */
  static async open(path: string): Promise<CredentialsDeviceIdentity> {
    try {
      const keys = (await readKeys(path)) ?? (await createKeys(path));
      return new CredentialsDeviceIdentity('credentials', keys);
    } catch (error) {
      if (error instanceof IdentityError) throw error;
      throw keyStoreError('The file with the device keys cannot be read or made.', error);
    }
  }
}

async function readKeys(path: string): Promise<SoftwareKeys | undefined> {
  let file: FileHandle;
  try {
    file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  try {
    const stat = await file.stat();
    if (!stat.isFile() || stat.size > MAX_FILE_BYTES) throw damaged();
    if ((stat.mode & OTHERS) !== 0)
      throw keyStoreError('Other users may read the file with the device keys: set its mode to 0600.');
    return parseKeys(await file.readFile('utf8'));
  } finally {
    await file.close();
  }
}

function parseKeys(text: string): SoftwareKeys {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw damaged(); // without its cause: a parser quotes what it read
  }
  if (!isSoftwareKeys(value)) throw damaged();
  return value;
}

/** Writes beside the file and links into place: the file appears whole or not at all, and never replaces another. */
async function createKeys(path: string): Promise<SoftwareKeys> {
  const directory = dirname(path);
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const keys = await generateSoftwareKeys();
  const draft = join(directory, `.keys-${randomUUID()}`);
  try {
    await writeDurably(draft, JSON.stringify(keys));
    await link(draft, path);
    await syncDirectory(directory);
    return keys;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    const winner = await readKeys(path);
    if (winner === undefined) throw error;
    return winner;
  } finally {
    await rm(draft, { force: true });
  }
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

function damaged(): IdentityError {
  return keyStoreError('The file with the device keys is damaged: restore it, or remove it and have the device reset.');
}

function keyStoreError(message: string, cause?: unknown): IdentityError {
  return new IdentityError('device.key-store', message, { cause });
}
