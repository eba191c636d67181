import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';

import { type DeviceConf, parseDeviceConf } from '@azaion/identity';
import { type Environment } from '@azaion/nest-support';

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

/**
 * The environment, with the Admin API's address from `device.conf` where it names none: a provisioned device needs no further setting.
 *
 * @param usualPath - Where the file lies unless `DEVICE_CONF` says otherwise.
 */
export function withProvisionedApi(env: Environment, usualPath: string): Environment {
  const configured = env['RESOURCE_API_URL'];
  if (configured !== undefined && configured !== '') return env;
  try {
    const path = env['DEVICE_CONF'];
    const conf = parseDeviceConf(readFileSync(path === undefined || path === '' ? usualPath : path, 'utf8'));
    return conf.apiUrl === undefined ? env : { ...env, RESOURCE_API_URL: conf.apiUrl };
  } catch {
    return env; // what is wrong with the file is said where it is needed
  }
}
