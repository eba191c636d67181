import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';

import { type DeviceConf, parseDeviceConf } from '@azaion/identity';

/**
 * Reads `device.conf`.
 *
 * @returns `undefined` when there is no such file: this machine is no device.
 * @throws Error naming the key, never its value.
 */
export async function readDeviceConf(path: string): Promise<DeviceConf | undefined> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new Error('device.conf cannot be read: check its permissions.', { cause: error });
  }
  return parseDeviceConf(text);
}

/** What `device.conf` says, or why it cannot be used; neither where there is no such file. */
export interface Provisioned {
  readonly conf?: DeviceConf;
  /** Names the key or the reason, never a value. */
  readonly problem?: string;
}

/** Looks into `device.conf` at the start, where all that is wrong is reported together. @param path - Of the file. */
export function provisionedBy(path: string): Provisioned {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return {};
    return { problem: `the file cannot be read (${code ?? 'unknown reason'}): check its owner and permissions` };
  }
  try {
    return { conf: parseDeviceConf(text) };
  } catch (error) {
    return { problem: error instanceof Error ? error.message : 'cannot be used' };
  }
}
