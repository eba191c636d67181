import { access, readFile } from 'node:fs/promises';
import { join } from 'node:path';

import { isPublicJwk } from '@azaion/crypto';
import { HardwareDeviceIdentity, SystemHardwareProbe, whyNoHardwareBinding } from '../hardware/index.js';
import { CredentialsDeviceIdentity } from '../software-identity/credentials-device-identity.js';
import { type FleetBootPolicy, hasTpmKeys, probeTpm, TpmDeviceIdentity } from '../tpm/index.js';
import {
  type Binding,
  type DeviceIdentity,
  type HardwareProbe,
  IdentityError,
  parseBootPolicies,
  parsePcrSelection,
} from '@azaion/identity';

/** What the choice of a binding depends on. */
export interface IdentitySettings {
  readonly binding: 'auto' | Binding;
  readonly dataDir: string;
  readonly tpmTcti: string;
  readonly tpmPcrs: string;
  readonly tpmPolicyKeyFile?: string;
  readonly tpmPolicyFile?: string;
}

/** The device's keys, and why they are kept where they are. */
export interface ChosenIdentity {
  readonly identity: DeviceIdentity;
  /** A sentence for the log and `/status`. */
  readonly reason: string;
  readonly close: () => Promise<void>;
}

const TPM_TIMEOUT_MS = 30_000;
const PROBE_TIMEOUT_MS = 15_000;
const MAX_POLICY_KEY_CHARS = 4096;

/**
 * Opens the device's keys, or makes them. `auto` stays with keys that exist; without any it takes a TPM that answers, else the parts of a physical
 * machine, else a plain file. What is configured by name never falls back.
 *
 * @throws IdentityError `device.key-store` | `device.tpm-…` | `device.hardware-…`, in sentences for the operator.
 */
export async function openDeviceIdentity(
  settings: IdentitySettings,
  log: (message: string) => void,
  probe: HardwareProbe = new SystemHardwareProbe(),
): Promise<ChosenIdentity> {
  const { binding, reason } = await chooseBinding(settings, probe);
  if (binding === 'tpm') {
    const identity = await TpmDeviceIdentity.open({
      tcti: settings.tpmTcti,
      timeoutMs: TPM_TIMEOUT_MS,
      directory: tpmDirectory(settings),
      pcrs: parsePcrSelection(settings.tpmPcrs) ?? [],
      fleet: await fleetPolicy(settings),
      log,
    });
    return { identity, reason, close: () => identity.close() };
  }
  const identity =
    binding === 'hardware'
      ? await HardwareDeviceIdentity.open({
          path: hardwareFile(settings),
          probe,
          probeTimeoutMs: PROBE_TIMEOUT_MS,
          log,
        })
      : await CredentialsDeviceIdentity.open(credentialsFile(settings));
  return { identity, reason, close: () => Promise.resolve() };
}

/** Which binding, and why. Keys are not touched. */
export async function chooseBinding(
  settings: IdentitySettings,
  probe: HardwareProbe,
): Promise<{ readonly binding: Binding; readonly reason: string }> {
  if (settings.binding !== 'auto')
    return { binding: settings.binding, reason: `LOADER_BINDING=${settings.binding}: ${WHERE[settings.binding]}` };
  const auto = (binding: Binding, why: string): { binding: Binding; reason: string } => ({
    binding,
    reason: `LOADER_BINDING=auto: ${why}, so ${WHERE[binding]}`,
  });
  if (await hasTpmKeys(tpmDirectory(settings))) return auto('tpm', 'this device has keys in its TPM already');
  if (await exists(hardwareFile(settings))) return auto('hardware', 'this device has keys tied to its parts already');
  if (await exists(credentialsFile(settings))) return auto('credentials', 'this device has a file with keys already');
  const noTpm = await probeTpm({ tcti: settings.tpmTcti, timeoutMs: TPM_TIMEOUT_MS });
  if (noTpm === undefined) return auto('tpm', 'a TPM answers');
  const without = `no TPM can be used (${noTpm.message.replace(/\.$/, '')})`;
  const noParts = await whyNoHardwareBinding(probe, PROBE_TIMEOUT_MS);
  return noParts === undefined
    ? auto('hardware', `${without}, and the machine names its parts`)
    : auto('credentials', `${without}, and ${noParts}`);
}

const WHERE: Readonly<Record<Binding, string>> = {
  tpm: 'the device keys stand in the TPM.',
  hardware: 'the device keys stand in a file that only this machine opens.',
  credentials: 'the device keys stand in a file of the data directory.',
};

async function fleetPolicy(settings: IdentitySettings): Promise<FleetBootPolicy | undefined> {
  const { tpmPolicyKeyFile, tpmPolicyFile } = settings;
  if (tpmPolicyKeyFile === undefined && tpmPolicyFile === undefined) return undefined;
  // With one of them alone the keys would be made for today's boot state, for good: nobody meant that.
  if (tpmPolicyKeyFile === undefined || tpmPolicyFile === undefined)
    throw unusable('TPM_POLICY_KEY_FILE and TPM_POLICY_FILE belong together: set both, or neither.');
  const text = await textOf('TPM_POLICY_KEY_FILE', tpmPolicyKeyFile);
  const { kty, crv, x, y } = parsedObject(text.length > MAX_POLICY_KEY_CHARS ? '' : text);
  const key = { kty, crv, x, y };
  if (!isPublicJwk(key)) throw unusable('TPM_POLICY_KEY_FILE does not hold a P-256 JWK.');
  return { key, policies: async () => parseBootPolicies(await textOf('TPM_POLICY_FILE', tpmPolicyFile)) };
}

async function textOf(variable: string, path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw unusable(`The file that ${variable} names cannot be read.`, cause);
  }
}

function unusable(message: string, cause?: unknown): IdentityError {
  return new IdentityError('device.tpm-policy', message, cause === undefined ? {} : { cause });
}

function parsedObject(text: string): Record<string, unknown> {
  try {
    return Object(JSON.parse(text)) as Record<string, unknown>;
  } catch {
    return {};
  }
}

function tpmDirectory({ dataDir }: IdentitySettings): string {
  return join(dataDir, 'tpm');
}

function hardwareFile({ dataDir }: IdentitySettings): string {
  return join(dataDir, 'device-keys.hardware.json');
}

function credentialsFile({ dataDir }: IdentitySettings): string {
  return join(dataDir, 'device-keys.json');
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
