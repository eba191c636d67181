import { execFile } from 'node:child_process';
import { access, constants, readdir, readFile, stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { chooseBinding } from '@azaion/adapters/device-identity';
import { SystemHardwareProbe } from '@azaion/adapters/hardware';
import { inspectTpm } from '@azaion/adapters/tpm';
import { IdentityError } from '@azaion/identity';

import { CliFailure } from '../cli-failure.js';
import type { CommandContext } from '../command-context.js';
import { systemErrorCode } from '../failure-table.js';
import { formatBytes, forShell } from '../format.js';
import { readDeviceConf, type ThisDevice, thisDevice } from '../this-device.js';
import type { Finding } from './finding.js';
import { type ApiAddress, checkNetwork } from './network-check.js';

const ENGINE_MS = 10_000;
const TPM_TIMEOUT_MS = 30_000;
const DISK_LOW_BYTES = 2 * 1024 ** 3;
const DISK_FULL_BYTES = 256 * 1024 ** 2;
const OTHERS_MAY = 0o077;
/** A MAC and what it is of. */
const TIME_MARK = /^[\w-]{43}\n\{.+\}$/s;

/** Options of `azaion doctor`. */
export interface DoctorOptions {
  readonly api?: string;
  readonly cdn?: string;
}

/** `azaion doctor`: looks at everything on this machine that a device needs, and says what helps. @throws CliFailure exit `refused` when something fails. */
export async function doctor(context: CommandContext, options: DoctorOptions): Promise<void> {
  const device = thisDevice(context.env);
  const api = await apiAddress(context, device, options);
  const findings = (
    await Promise.all([
      checkNetwork(context, api, options.cdn),
      checkDisk(device.identity.dataDir),
      checkEngine(device.containerCli),
      checkLeases(device.identity.dataDir),
      checkTpm(device),
      checkPermissions(device),
      checkBinding(device),
    ])
  ).flat();
  const failing = findings.filter(({ state }) => state === 'fails');
  const lines = findings.flatMap(({ check, state, says, remedy }) => [
    `${state.padEnd(12)}${check}: ${says}`,
    ...(remedy === undefined ? [] : [`${' '.repeat(12)}Next: ${remedy}`]),
  ]);
  if (failing.length === 0) {
    context.output.result({ healthy: true, findings }, lines);
    return;
  }
  context.output.report(lines);
  throw new CliFailure(
    'refused',
    {
      code: 'doctor.fails',
      message: `${String(failing.length)} of ${String(findings.length)} checks fail: ${failing.map(({ check }) => check).join(', ')}.`,
      meaning: 'This machine cannot do all of its work as a device.',
      next: failing.flatMap(({ remedy }) => remedy ?? []).join(' ') || 'See what each check says.',
    },
    { facts: { healthy: false, findings } },
  );
}

/** Where the Admin API is, and which setting says so. */
async function apiAddress(
  { env, profile }: CommandContext,
  { confPath }: ThisDevice,
  { api }: DoctorOptions,
): Promise<ApiAddress | undefined> {
  const conf = await readDeviceConf(confPath).catch(() => undefined);
  const candidates: readonly (readonly [string, string | undefined])[] = [
    ['--api', api],
    ['RESOURCE_API_URL', env['RESOURCE_API_URL'] || undefined],
    ['AZAION_API', env['AZAION_API'] || undefined],
    ['RESOURCE_API_URL', conf?.apiUrl],
    ['the profile', (await profile.read()).api],
  ];
  return candidates.flatMap(([from, url]) => (url === undefined ? [] : [{ from, url }]))[0];
}

async function checkDisk(directory: string): Promise<readonly Finding[]> {
  try {
    await access(directory, constants.W_OK);
    const { bavail, bsize } = await statfs(directory);
    const freeBytes = bavail * bsize;
    const says = `${formatBytes(freeBytes)} free in ${directory}`;
    const remedy = 'Free space, or lower LOADER_CACHE_LIMIT_BYTES.';
    if (freeBytes < DISK_FULL_BYTES) return [{ check: 'disk', state: 'fails', says, remedy }];
    return [
      freeBytes < DISK_LOW_BYTES
        ? { check: 'disk', state: 'warns', says, remedy }
        : { check: 'disk', state: 'ok', says },
    ];
  } catch (error) {
    return [
      {
        check: 'disk',
        state: 'fails',
        says: `${directory} cannot be written (${systemErrorCode(error) ?? 'unknown reason'})`,
        remedy: 'Make the directory for the user of the Loader with mode 0700, or set LOADER_DATA_DIR.',
      },
    ];
  }
}

/** Whether the record is authentic only the device's key tells: the Loader says so in its log. */
async function checkLeases(dataDir: string): Promise<readonly Finding[]> {
  let leases: readonly string[] = [];
  try {
    leases = await readdir(join(dataDir, 'leases'), { recursive: true });
  } catch (error) {
    if (systemErrorCode(error) !== 'ENOENT')
      return [{ check: 'leases', state: 'not checked', says: `this user may not look into ${dataDir}` }];
  }
  const count = leases.filter((name) => name.endsWith('.json')).length;
  if (count === 0)
    return [{ check: 'leases', state: 'ok', says: 'there are none: nothing opens without the Admin API' }];
  const mark = await readFile(join(dataDir, 'time-mark'), 'utf8').catch(() => '');
  return TIME_MARK.test(mark)
    ? [{ check: 'leases', state: 'ok', says: `${String(count)} kept, with the record of the trusted time` }]
    : [
        {
          check: 'leases',
          state: 'fails',
          says: `${String(count)} kept, and the record of the trusted time is missing or damaged: they open nothing`,
          remedy: 'Bring the device into contact with the Admin API once.',
        },
      ];
}

async function checkEngine(command: string): Promise<readonly Finding[]> {
  try {
    const { stdout } = await promisify(execFile)(command, ['version', '--format', '{{.Server.Version}}'], {
      timeout: ENGINE_MS,
    });
    return [{ check: 'engine', state: 'ok', says: `${command} ${stdout.trim()} answers` }];
  } catch (error) {
    const isMissing = systemErrorCode(error) === 'ENOENT';
    return [
      {
        check: 'engine',
        state: 'warns',
        says: isMissing ? `there is no ${command}` : `${command} does not reach its engine`,
        remedy: isMissing
          ? 'Install it, or name another with CONTAINER_CLI. Models need none; unlocking images does.'
          : 'Start the engine, and let this user use it (group docker, or DOCKER_HOST).',
      },
    ];
  }
}

async function checkTpm({ identity, pcrs }: ThisDevice): Promise<readonly Finding[]> {
  try {
    const { zeroPcrs, isLockedOut } = await inspectTpm({ tcti: identity.tpmTcti, timeoutMs: TPM_TIMEOUT_MS }, pcrs);
    const findings: Finding[] = [{ check: 'tpm', state: 'ok', says: `a TPM answers at ${identity.tpmTcti}` }];
    if (zeroPcrs.length > 0)
      findings.push({
        check: 'tpm',
        state: 'warns',
        says: `nothing was measured into the registers ${zeroPcrs.join(', ')}: they are all zero and protect nothing`,
        remedy:
          'Enable measured boot in the firmware, or choose other registers with TPM_PCRS before the device enrols.',
      });
    if (isLockedOut)
      findings.push({
        check: 'tpm',
        state: 'warns',
        says: 'it is locked after wrong passwords of other programs; device keys still work',
        remedy: 'tpm2_dictionarylockout --clear-lockout, after finding out which program it was.',
      });
    return findings;
  } catch (error) {
    if (!(error instanceof IdentityError)) throw error;
    return [
      {
        check: 'tpm',
        state: identity.binding === 'tpm' ? 'fails' : 'warns',
        says: `none can be used (${error.code})`,
        remedy: error.message,
      },
    ];
  }
}

async function checkPermissions({ confPath, identity }: ThisDevice): Promise<readonly Finding[]> {
  const { dataDir } = identity;
  const names = await readdir(dataDir).catch(() => []);
  const keys = names.filter((name) => /^device-keys.*\.json$/.test(name)).map((name) => join(dataDir, name));
  const findings: Finding[] = [];
  for (const path of [confPath, dataDir, join(dataDir, 'tpm'), ...keys]) {
    const mode = await stat(path).then(
      (found) => found.mode,
      () => 0,
    );
    if ((mode & OTHERS_MAY) !== 0)
      findings.push({
        check: 'permissions',
        state: 'fails',
        says: `other users may read or change ${path}`,
        remedy: `chmod go= ${forShell(path)}`,
      });
  }
  return findings.length > 0
    ? findings
    : [{ check: 'permissions', state: 'ok', says: 'keys and device.conf are for their owner only' }];
}

async function checkBinding({ identity }: ThisDevice): Promise<readonly Finding[]> {
  const { binding, reason } = await chooseBinding(identity, new SystemHardwareProbe());
  return [
    binding === 'credentials'
      ? {
          check: 'binding',
          state: 'warns',
          says: reason,
          remedy: 'Who copies the disk is the device until it is revoked: use a TPM in the field.',
        }
      : { check: 'binding', state: 'ok', says: reason },
  ];
}
