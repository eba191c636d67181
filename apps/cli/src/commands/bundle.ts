import { createReadStream } from 'node:fs';
import { mkdir, mkdtemp, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { Readable } from 'node:stream';

import { BundleWriter, copyBundle, DirectoryBundle, packBundle, unpackBundle } from '@azaion/adapters/bundle';
import { HttpPackSource } from '@azaion/adapters/http-packs';
import { ApiClient, HttpDeviceGrants, HttpGrantApi, HttpWellKnown } from '@azaion/adapters/resource-api';
import { ephemeralRecipient } from '@azaion/crypto';
import { SystemClock } from '@azaion/kernel';
import {
  type BundleChecks,
  type BundledResource,
  type ExportedResource,
  ExportResource,
  type VerifiedBundle,
  verifyBundle,
} from '@azaion/split-resource';

import { usageFailure } from '../cli-failure.js';
import { type CommandContext, findService } from '../command-context.js';
import { systemErrorCode } from '../failure-table.js';
import { counted, formatBytes } from '../format.js';
import { profileTrust, pinnedKeys } from '../profile-trust.js';
import { parseResourceReference, parseVersion } from '../resource-reference.js';

const DAY_SECONDS = 86_400;
const MAX_DAYS = 90;
const SERIAL = /^[a-z0-9][a-z0-9._-]{0,63}$/;

/** Options of `azaion bundle create`. */
export interface CreateBundleOptions {
  readonly api?: string;
  readonly output: string;
  readonly device: readonly string[];
  readonly days?: string;
}

/** Options of `azaion bundle import`. */
export interface ImportBundleOptions {
  readonly to: string;
}

/** Writes versions with everything that named devices need to open them without a network. For an ApiAdmin. */
export async function createBundle(
  context: CommandContext,
  references: readonly string[],
  options: CreateBundleOptions,
): Promise<void> {
  const { output, signal, session, env } = context;
  const serials = [...new Set(options.device)];
  for (const serial of serials) if (!SERIAL.test(serial)) throw usageFailure(`"${serial}" is not a serial number.`);
  const wanted = references.map(parseVersioned);
  const leaseSeconds = options.days === undefined ? undefined : daysOf(options.days) * DAY_SECONDS;
  const isTar = options.output.endsWith('.tar');
  const directory = isTar ? `${options.output}.parts` : options.output;
  if (isTar) await assertFree(options.output);
  await assertFree(join(directory, 'bundle.json'));
  const service = await findService(context, 'api', options.api);
  const [api, tokens] = [service.url, session.tokensOf(service)];
  const client = new ApiClient({ baseUrl: api, allowInsecure: env['ALLOW_INSECURE_API'] === 'true' });
  const source = new HttpPackSource();
  const progress = output.progress('bundle');
  const writer = new BundleWriter(directory);
  let [doneBytes, totalBytes, downloadedBytes] = [0, 0, 0];
  try {
    const grants = new HttpGrantApi(client, tokens, undefined, signal);
    const forDevices = new HttpDeviceGrants(client, tokens, signal);
    const exporting = new ExportResource(grants, await profileTrust(context, api, client), new SystemClock());
    const resources: BundledResource[] = [];
    for (const { resource, version } of wanted) {
      const recipient = { ...(await ephemeralRecipient()), serial: undefined };
      const found = await exporting.run(resource, version, recipient, writer);
      const { statement } = found;
      // Asked for before the packs are fetched: what is refused is refused at once.
      const made = await forDevices.of(resource, statement.version, serials, leaseSeconds);
      for (const [serial, grant] of made) await writer.grant(serial, statement.rootHash, grant);
      await writer.statement(statement.rootHash, [...made.values()][0]?.statement ?? found.statementJws);
      totalBytes += found.packs.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
      for (const pack of found.packs) {
        const locate = async () => (await grants.packUrls(found.grantId, [pack.packId]))[0];
        downloadedBytes += await writer.pack(source, statement.folderId, pack, locate, signal);
        doneBytes += pack.sizeBytes;
        progress.update(doneBytes, totalBytes, `${formatBytes(downloadedBytes)} downloaded`);
      }
      resources.push(bundled(found));
    }
    await writer.keyDocument(await new HttpWellKnown(client).statementKeys());
    await writer.finish(Math.floor(Date.now() / 1000), resources, serials);
    if (isTar) {
      await packBundle(directory, options.output, signal);
      await rm(directory, { recursive: true });
    }
    progress.stop();
    output.result({ path: options.output, resources, serials, bytes: writer.totalBytes, downloadedBytes }, [
      `The bundle ${options.output} holds ${counted(resources.length, 'resource')} for ${counted(serials.length, 'device')}: ${formatBytes(writer.totalBytes)}.`,
      'Carry it to the devices: LOADER_IMPORT_DIR of their Loader, see "azaion bundle import".',
    ]);
  } finally {
    progress.stop();
    await source.close();
    await client.close();
  }
}

/** Shows what a bundle says it holds, after its signatures were verified. */
export async function inspectBundle(context: CommandContext, path: string): Promise<void> {
  const found = await withDirectory(context, path, (directory) => checked(context, directory, { files: false }));
  context.output.result(factsOf(found), linesOf(found));
}

/** Verifies all of a bundle that can be verified without a device's key, every byte of it included. */
export async function verifyBundleAt(context: CommandContext, path: string): Promise<VerifiedBundle> {
  return withDirectory(context, path, (directory) => checkedWhole(context, directory));
}

/** Verifies a bundle and puts it where a Loader takes it up: the place appears whole or not at all. */
export async function importBundle(context: CommandContext, path: string, options: ImportBundleOptions): Promise<void> {
  const target = resolve(options.to, basename(path).replace(/\.tar$/, ''));
  await assertFree(target);
  await mkdir(dirname(target), { recursive: true });
  const draft = await mkdtemp(`${target}.new-`);
  try {
    if (await asTar(path)) await unpack(context, path, draft);
    else await copyBundle(path, draft, context.signal);
    const found = await checkedWhole(context, draft);
    await rename(draft, target);
    context.output.result({ ...factsOf(found), path: target }, [
      ...linesOf(found),
      `Verified and put into ${target}. The Loader takes it up within a minute, or when it starts (LOADER_IMPORT_DIR=${options.to}).`,
    ]);
  } catch (error) {
    await rm(draft, { recursive: true, force: true });
    throw error;
  }
}

/** Every byte of a bundle's directory, while somebody watches. */
async function checkedWhole(context: CommandContext, directory: string): Promise<VerifiedBundle> {
  const progress = context.output.progress('verify');
  try {
    return await checked(context, directory, {
      onBytes: (checkedBytes, totalBytes) => {
        context.signal.throwIfAborted();
        progress.update(checkedBytes, totalBytes);
      },
    });
  } finally {
    progress.stop();
  }
}

async function checked(
  context: CommandContext,
  directory: string,
  checks: Omit<BundleChecks, 'keys'>,
): Promise<VerifiedBundle> {
  return verifyBundle(new DirectoryBundle(directory), { keys: await pinnedKeys(context), ...checks });
}

async function unpack({ output, signal }: CommandContext, path: string, directory: string): Promise<void> {
  const { size: totalBytes } = await stat(path);
  const progress = output.progress('unpack', totalBytes);
  async function* watched(): AsyncGenerator<Buffer> {
    let readBytes = 0;
    for await (const part of createReadStream(path, { signal }) as AsyncIterable<Buffer>) {
      progress.update((readBytes += part.length), totalBytes);
      yield part;
    }
  }
  try {
    await unpackBundle(Readable.from(watched()), directory);
  } finally {
    progress.stop();
  }
}

/** A tar file is taken apart beside itself for the time of the work. */
async function withDirectory<T>(
  context: CommandContext,
  path: string,
  work: (directory: string) => Promise<T>,
): Promise<T> {
  if (!(await asTar(path))) return work(path);
  const directory = await mkdtemp(`${resolve(path)}.parts-`);
  try {
    await unpack(context, path, directory);
    return await work(directory);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function asTar(path: string): Promise<boolean> {
  const found = await stat(path).catch(() => undefined);
  if (found === undefined) throw usageFailure(`There is no bundle at ${path}.`, 'Name a directory or a .tar file.');
  return !found.isDirectory();
}

async function assertFree(path: string): Promise<void> {
  try {
    await stat(path);
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return;
    throw error;
  }
  throw usageFailure(`${path} is there already: it is not written over.`, 'Choose another name, or remove it.');
}

function parseVersioned(text: string): {
  readonly resource: ReturnType<typeof parseResourceReference>;
  readonly version: number | undefined;
} {
  const [name = '', version, ...rest] = text.split('@');
  if (rest.length > 0)
    throw usageFailure(`"${text}" does not name a resource.`, 'Write FOLDER/NAME or FOLDER/NAME@VERSION.');
  return { resource: parseResourceReference(name), version: version === undefined ? undefined : parseVersion(version) };
}

function daysOf(text: string): number {
  const days = Number(text);
  if (!/^[0-9]{1,2}$/.test(text) || days < 1 || days > MAX_DAYS)
    throw usageFailure(`"${text}" is not a number of days.`, `Give 1 to ${MAX_DAYS}.`);
  return days;
}

function bundled({ statement }: ExportedResource): BundledResource {
  const { folder, resource: name, version, kind, totalBytes, folderId, rootHash } = statement;
  return { folder, name, version, kind, totalBytes, folderId, rootHash };
}

function factsOf({ manifest, keys, resources, checkedBytes }: VerifiedBundle): Readonly<Record<string, unknown>> {
  return {
    createdAt: manifest.createdAt,
    keyDocument: { version: keys.version, expiresAt: keys.expiresAt },
    resources: resources.map(({ statement, grants }) => ({
      folder: statement.folder,
      name: statement.resource,
      version: statement.version,
      kind: statement.kind,
      totalBytes: statement.totalBytes,
      grants: grants.map(({ serial, token }) => ({ serial, notAfter: token.notAfter })),
    })),
    checkedBytes,
  };
}

/** What a bundle holds, for people. */
export function linesOf({ manifest, keys, resources, checkedBytes }: VerifiedBundle): string[] {
  const at = (seconds: number): string => new Date(seconds * 1000).toISOString();
  return [
    `Made ${at(manifest.createdAt)}; key document version ${keys.version}, good until ${at(keys.expiresAt)}.`,
    ...resources.flatMap(({ statement, grants }) => [
      `  ${statement.folder}/${statement.resource} version ${statement.version}, ${formatBytes(statement.totalBytes)}`,
      ...grants.map(
        ({ serial, token }) =>
          `    ${serial} until ${at(token.notAfter)}${token.notAfter * 1000 <= Date.now() ? ' (EXPIRED)' : ''}`,
      ),
    ]),
    ...(checkedBytes > 0 ? [`${formatBytes(checkedBytes)} read and compared: nothing is missing or changed.`] : []),
  ];
}
