import { randomUUID } from 'node:crypto';
import { readFile, rm } from 'node:fs/promises';

import { ApiClient, HttpWellKnown } from '@azaion/adapters/resource-api';
import { parseRootKey } from '@azaion/adapters/trust-store';
import { type DeviceConf, formatDeviceConf, parseDeviceConf } from '@azaion/identity';
import { Secret } from '@azaion/kernel';

import { CliFailure, usageFailure } from '../cli-failure.js';
import { AdminApi } from '../admin-api.js';
import type { CommandContext } from '../command-context.js';
import { failure, systemErrorCode } from '../failure-table.js';
import { type Owner, parseOwner, StagingRoot } from '../fleet/staging-root.js';
import { contentOf } from '../http.js';
import { parseServiceUrl } from '../resource-reference.js';

const SERIAL = /^[a-z0-9][a-z0-9._-]{0,63}$/;

/** Options of `azaion device provision`. */
export interface ProvisionOptions {
  readonly api?: string;
  readonly serial?: string;
  /** Where the file lies on the device. */
  readonly path: string;
  readonly deviceApi?: string;
  readonly rootKey?: string;
  readonly group: readonly string[];
  readonly owner?: string;
  readonly reset?: boolean;
}

/** What the device will be told, beside who it is. */
interface Surroundings {
  readonly apiUrl: string;
  readonly statementRoot: string;
}

/**
 * `azaion device provision`: creates a device and writes its `device.conf` into the root file system that it will boot.
 *
 * It may be repeated at any point. A file that is there keeps its device and its password; where a run was cut off after the device was
 * created, the next one takes the same device with a fresh password.
 */
export async function provisionDevice(context: CommandContext, root: string, options: ProvisionOptions): Promise<void> {
  if (options.serial !== undefined && !SERIAL.test(options.serial))
    throw usageFailure(
      `"${options.serial}" is not a serial.`,
      'Use lower-case letters, digits, ".", "_" and "-", at most 64.',
    );
  const owner = options.owner === undefined ? undefined : parseOwner(options.owner);
  const staging = await StagingRoot.open(root);
  const target = await staging.locate(options.path);
  const fleet = await AdminApi.open(context, options.api);
  const surroundings = await surroundingsOf(context, fleet.service.url, options);
  const known = await readConf(target);
  if (known !== undefined && options.serial !== undefined && options.serial !== known.serial)
    throw failure(
      'provision.other-device',
      `${target} belongs to the device ${known.serial}, not to ${options.serial}.`,
    );
  const status = await readyToEnrol(fleet, known?.serial ?? options.serial, known !== undefined, options);
  const conf = known ?? (await create(fleet, staging, target, options.serial, owner));
  await staging.write(target, formatDeviceConf({ ...conf, ...surroundings }), owner);
  await rm(pendingPath(target), { force: true });
  for (const name of options.group)
    await fleet.routes.PUT('/groups/{name}/members/{serial}', { params: { path: { name, serial: conf.serial } } });
  const created = known === undefined;
  context.output.result(
    { serial: conf.serial, email: conf.email, created, status, path: target, groups: options.group },
    [
      created ? `Created ${conf.serial}.` : `${conf.serial} was provisioned here before: its password is kept.`,
      `Wrote ${target}: keep it as secret as a password until the device has enrolled.`,
    ],
  );
}

/** A fresh device, or the one that an interrupted run made: its key lies beside the file until that is written. */
async function create(
  fleet: AdminApi,
  staging: StagingRoot,
  target: string,
  serial: string | undefined,
  owner: Owner | undefined,
): Promise<Pick<DeviceConf, 'serial' | 'email' | 'password'>> {
  const key = serial === undefined ? await pendingKey(staging, target, owner) : `provision:${serial}`;
  const made = await fleet.routes.POST('/devices', {
    body: serial === undefined ? {} : { serial },
    headers: { 'idempotency-key': key },
  });
  const { Serial, Email, Password } = contentOf(made);
  return { serial: Serial, email: Email, password: new Secret(Password) };
}

async function pendingKey(staging: StagingRoot, target: string, owner: Owner | undefined): Promise<string> {
  const path = pendingPath(target);
  const known = await readText(path);
  if (known !== undefined && /^[0-9a-f-]{36}$/.test(known.trim())) return known.trim();
  const key = randomUUID();
  await staging.write(path, `${key}\n`, owner);
  return key;
}

function pendingPath(target: string): string {
  return `${target}.provisioning`;
}

/**
 * Whether the password will serve for an enrolment.
 *
 * @returns The device's status; `registered` for one that does not exist yet.
 */
async function readyToEnrol(
  fleet: AdminApi,
  serial: string | undefined,
  written: boolean,
  options: ProvisionOptions,
): Promise<string> {
  const status = serial === undefined ? undefined : await statusOf(fleet, serial);
  if (status === undefined) {
    if (written)
      throw failure(
        'provision.unknown-device',
        `${fleet.service.url} does not know the device ${serial ?? ''} of this device.conf.`,
      );
    return 'registered';
  }
  if (status === 'registered') return status;
  // An enrolled device that still has its file goes on with its keys.
  if (status === 'enrolled' && written && options.reset !== true) return status;
  if (options.reset !== true || serial === undefined)
    throw failure(
      `provision.${status}`,
      `The device ${serial ?? ''} is ${status}: a password would open nothing for it.`,
    );
  await fleet.routes.POST('/devices/{serial}/reset', { params: { path: { serial } } });
  return 'registered';
}

async function statusOf(fleet: AdminApi, serial: string): Promise<'enrolled' | 'registered' | 'revoked' | undefined> {
  try {
    return contentOf(await fleet.routes.GET('/devices/{serial}', { params: { path: { serial } } })).status;
  } catch (error) {
    if (error instanceof CliFailure && error.code === 'device.not-found') return undefined;
    throw error;
  }
}

async function surroundingsOf(
  context: CommandContext,
  api: string,
  { deviceApi, rootKey }: ProvisionOptions,
): Promise<Surroundings> {
  const insecure = context.env['ALLOW_INSECURE_API'] === 'true';
  const apiUrl = deviceApi === undefined ? api : parseServiceUrl(deviceApi, '--device-api', insecure);
  const path = rootKey ?? context.env['STATEMENT_ROOT_KEY_FILE'];
  if (path !== undefined && path !== '') {
    const { kid, key } = await readRootKey(path);
    return { apiUrl, statementRoot: JSON.stringify({ ...key, kid }) };
  }
  const client = new ApiClient({ baseUrl: api, allowInsecure: insecure });
  try {
    const { kid, key } = await new HttpWellKnown(client).statementRoot();
    context.output.note(
      `The device will trust the root key ${kid} of this development API: give --root-key in earnest.`,
    );
    return { apiUrl, statementRoot: JSON.stringify({ ...key, kid }) };
  } catch (cause) {
    throw failure('trust.no-root', 'It is not known whose signatures the device shall trust.', {
      next: 'Give the public root key with --root-key FILE, or set STATEMENT_ROOT_KEY_FILE.',
      cause,
    });
  } finally {
    await client.close();
  }
}

async function readRootKey(path: string) {
  try {
    return await parseRootKey(await readFile(path, 'utf8'));
  } catch (cause) {
    throw failure('trust.root-invalid', `${path} does not hold a public key.`, { cause });
  }
}

async function readConf(path: string): Promise<DeviceConf | undefined> {
  const text = await readText(path);
  if (text === undefined) return undefined;
  try {
    return parseDeviceConf(text);
  } catch (cause) {
    throw failure(
      'provision.conf-damaged',
      `${path} is there, but cannot be read: ${cause instanceof Error ? cause.message : ''}`,
      { cause },
    );
  }
}

async function readText(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}
