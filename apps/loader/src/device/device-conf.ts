import { readFile } from 'node:fs/promises';

import { Secret } from '@azaion/kernel';

const MAX_FILE_CHARS = 64 * 1024;
const SERIAL = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

/** What provisioning wrote onto the device. */
export interface DeviceConf {
  readonly serial: string;
  readonly email: string;
  /** Serves the first enrolment only. */
  readonly password: Secret<string>;
  /** Public JWK of the statement root, JSON. */
  readonly statementRoot: string | undefined;
}

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
 * Parses `KEY=VALUE` lines; `#` starts a comment line, values may be in single or double quotes. Keys of others are ignored.
 *
 * @throws Error naming the key, never its value.
 */
export function parseDeviceConf(text: string): DeviceConf {
  if (text.length > MAX_FILE_CHARS) throw new Error('device.conf is too long.');
  const values = new Map<string, string>();
  for (const line of text.split(/\r?\n/)) {
    const match = /^\s*(?:export\s+)?([A-Z][A-Z0-9_]*)\s*=\s*(.*?)\s*$/.exec(line);
    if (match?.[1] !== undefined && match[2] !== undefined) values.set(match[1], unquoted(match[2]));
  }
  const email = values.get('AZAION_DEVICE_EMAIL') ?? '';
  const password = values.get('AZAION_DEVICE_PASSWORD') ?? '';
  const [serial = ''] = email.split('@', 1);
  if (!SERIAL.test(serial) || !email.includes('@'))
    throw new Error('AZAION_DEVICE_EMAIL is missing or not the address of a device.');
  if (password === '') throw new Error('AZAION_DEVICE_PASSWORD is missing.');
  return { serial, email, password: new Secret(password), statementRoot: values.get('AZAION_STATEMENT_ROOT') };
}

function unquoted(text: string): string {
  const quote = text[0];
  return text.length >= 2 && (quote === '"' || quote === "'") && text.endsWith(quote) ? text.slice(1, -1) : text;
}
