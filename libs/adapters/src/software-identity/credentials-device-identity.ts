import {
  generateSoftwareKeys,
  IdentityError,
  isSoftwareKeys,
  SoftwareDeviceIdentity,
  type SoftwareKeys,
} from '@azaion/identity';

import { createKeyFile, damagedKeyFile, keyStoreError, readKeyJson } from './private-file.js';

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
  const json = await readKeyJson(path, MAX_FILE_BYTES);
  if (json === undefined) return undefined;
  const { value } = json;
  if (!isSoftwareKeys(value)) throw damagedKeyFile();
  return value;
}

async function createKeys(path: string): Promise<SoftwareKeys> {
  const keys = await generateSoftwareKeys();
  if (await createKeyFile(path, JSON.stringify(keys))) return keys;
  const winner = await readKeys(path);
  if (winner === undefined) throw keyStoreError('The file with the device keys was removed while it was opened.');
  return winner;
}
