import { readFile } from 'node:fs/promises';

import type { IdentitySettings } from '@azaion/adapters/device-identity';
import { type DeviceConf, parseDeviceConf, parsePcrSelection, type PcrSelection } from '@azaion/identity';

import { usageFailure } from './cli-failure.js';
import { failure, systemErrorCode } from './failure-table.js';

const BINDINGS = ['auto', 'tpm', 'hardware', 'credentials'] as const;
const DEFAULT_PCRS = 'sha256:0,2,4,7';

/** How the Loader of this machine is set up: the same variables, with the same defaults. */
export interface ThisDevice {
  readonly confPath: string;
  readonly identity: IdentitySettings;
  readonly pcrs: PcrSelection;
  readonly containerCli: string;
}

/** Reads the Loader's settings from the environment. @throws CliFailure exit `usage`. */
export function thisDevice(env: NodeJS.ProcessEnv): ThisDevice {
  const value = (name: string, otherwise: string): string => env[name] || otherwise; // an empty variable is an unset one
  const binding = BINDINGS.find((one) => one === value('LOADER_BINDING', 'auto'));
  if (binding === undefined) throw usageFailure('LOADER_BINDING must be auto, tpm, hardware or credentials.');
  const tpmPcrs = value('TPM_PCRS', DEFAULT_PCRS);
  const optional = (member: string, name: string): object => (env[name] ? { [member]: env[name] } : {});
  return {
    confPath: value('DEVICE_CONF', '/etc/azaion/device.conf'),
    identity: {
      binding,
      dataDir: value('LOADER_DATA_DIR', '/var/lib/azaion'),
      tpmTcti: value('TPM_TCTI', 'device:/dev/tpmrm0'),
      tpmPcrs,
      ...optional('tpmPolicyKeyFile', 'TPM_POLICY_KEY_FILE'),
      ...optional('tpmPolicyFile', 'TPM_POLICY_FILE'),
    },
    pcrs: pcrsOf(tpmPcrs, 'TPM_PCRS'),
    containerCli: value('CONTAINER_CLI', 'docker'),
  };
}

/** Reads a selection of registers. @throws CliFailure exit `usage`. */
export function pcrsOf(text: string, name: string): PcrSelection {
  const pcrs = parsePcrSelection(text);
  if (pcrs === undefined)
    throw usageFailure(`${name} must name registers of the SHA-256 bank, such as ${DEFAULT_PCRS}.`);
  return pcrs;
}

/** Reads `device.conf`. @throws CliFailure when it is missing, not readable or not valid. */
export async function readDeviceConf(path: string): Promise<DeviceConf> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    const isMissing = systemErrorCode(error) === 'ENOENT';
    throw failure(
      isMissing ? 'device.no-conf' : 'device.conf-unreadable',
      isMissing ? `There is no ${path}: this machine is no device.` : `${path} cannot be read.`,
      { cause: error },
    );
  }
  try {
    return parseDeviceConf(text);
  } catch (error) {
    throw failure('device.bad-conf', `${path} is not valid: ${error instanceof Error ? error.message : ''}`, {
      cause: error,
    });
  }
}
