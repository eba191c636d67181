import { Secret } from '@azaion/kernel';

const MAX_FILE_CHARS = 64 * 1024;
const SERIAL = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
/** Between single quotes every other character stands for itself, for a shell and for systemd too. */
const QUOTABLE = /^[^'\p{Cc}]*$/u;

/** What provisioning writes onto a device: `device.conf`. */
export interface DeviceConf {
  readonly serial: string;
  readonly email: string;
  /** Serves the first enrolment only. */
  readonly password: Secret<string>;
  /** Base URL of the Admin API, where `RESOURCE_API_URL` does not say another. */
  readonly apiUrl: string | undefined;
  /** Public JWK of the statement root, JSON. */
  readonly statementRoot: string | undefined;
}

/**
 * Parses `KEY=VALUE` lines; `#` starts a comment line, values may be in single or double quotes. Keys of others are ignored.
 *
 * @param text - Untrusted.
 * @throws Error naming the key, never its value.
 */
export function parseDeviceConf(text: string): DeviceConf {
  if (text.length > MAX_FILE_CHARS) throw new Error('device.conf is too long.');
  const values = new Map<string, string>();
  for (const line of text.split(/\r?\n/)) {
    const match = /^\s*(?:export\s+)?([A-Z][A-Z0-9_]*)\s*=\s*([^\r]*?)\s*$/.exec(line);
    if (match?.[1] !== undefined && match[2] !== undefined) values.set(match[1], unquoted(match[2]));
  }
  const email = values.get('AZAION_DEVICE_EMAIL') ?? '';
  const password = values.get('AZAION_DEVICE_PASSWORD') ?? '';
  const [serial = ''] = email.split('@', 1);
  if (!SERIAL.test(serial) || !email.includes('@'))
    throw new Error('AZAION_DEVICE_EMAIL is missing or not the address of a device.');
  if (password === '') throw new Error('AZAION_DEVICE_PASSWORD is missing.');
  return {
    serial,
    email,
    password: new Secret(password),
    apiUrl: values.get('RESOURCE_API_URL'),
    statementRoot: values.get('AZAION_STATEMENT_ROOT'),
  };
}

/**
 * The text of `device.conf`; {@link parseDeviceConf} reads it back. It holds the password: mode 0600.
 *
 * @throws Error naming the key whose value has a quote or a control character.
 */
export function formatDeviceConf({ email, password, apiUrl, statementRoot }: Omit<DeviceConf, 'serial'>): string {
  const values = {
    AZAION_DEVICE_EMAIL: email,
    AZAION_DEVICE_PASSWORD: password.reveal(),
    RESOURCE_API_URL: apiUrl,
    AZAION_STATEMENT_ROOT: statementRoot,
  };
  const lines = Object.entries(values).flatMap(([key, value]) => {
    if (value === undefined) return [];
    if (!QUOTABLE.test(value)) throw new Error(`${key} cannot be written into device.conf.`);
    return [`${key}='${value}'`];
  });
  return ['# Made by "azaion device provision". The password serves the first enrolment only.', ...lines, ''].join(
    '\n',
  );
}

function unquoted(text: string): string {
  const quote = text[0];
  return text.length >= 2 && (quote === '"' || quote === "'") && text.endsWith(quote) ? text.slice(1, -1) : text;
}
