import { stat } from 'node:fs/promises';
import { join } from 'node:path';

import { ChunkWorkerPool } from '@azaion/adapters/chunk-workers';
import { DirectoryPackStore, DirectorySegmentStore, OpenPlaintextFile } from '@azaion/adapters/file-store';
import { HttpPackSource } from '@azaion/adapters/http-packs';
import { ApiClient, HttpGrantApi } from '@azaion/adapters/resource-api';
import { ephemeralRecipient } from '@azaion/crypto';
import { type ResourceName, SystemClock } from '@azaion/kernel';
import { type FetchProgress, FetchResource, ForgetRecipes, PackReader } from '@azaion/split-resource';

import { claimDirectory } from '../claimed-directory.js';
import { usageFailure } from '../cli-failure.js';
import { type CommandContext, findService } from '../command-context.js';
import { formatBytes } from '../format.js';
import { call, wholeBody } from '../http.js';
import { parseWantedVersion } from '../wanted-version.js';
import { profileTrust } from '../profile-trust.js';
import { fillWholeFile, writeWholeFile } from '../whole-file.js';

const CACHE_LIMIT_BYTES = 20 * 1024 ** 3;
const RECIPES_LIMIT_BYTES = CACHE_LIMIT_BYTES / 64;

/** Options of `azaion fetch`. */
export interface FetchOptions {
  readonly api?: string;
  readonly loader?: string;
  readonly output?: string;
  readonly force?: boolean;
}

/** F2: fetches a resource into a file, from the Admin API and the CDN, or through a Loader. */
export async function fetchResource(context: CommandContext, reference: string, options: FetchOptions): Promise<void> {
  const { version: wanted, ...resource } = parseWantedVersion(reference);
  const version = wanted === 'latest' ? undefined : wanted;
  const path = options.output ?? resource.name;
  // Asked before the transfer, which may be long.
  if (options.force !== true && (await stat(path).catch(() => undefined))?.isFile() === true)
    throw usageFailure(`${path} is there already.`, 'Give --force to replace it, or another name with -o.');
  if (options.loader !== undefined) await throughLoader(context, resource, version, path, options.loader);
  else await directly(context, resource, version, path, options.api);
}

async function directly(
  context: CommandContext,
  resource: ResourceName,
  version: number | undefined,
  path: string,
  apiOption: string | undefined,
): Promise<void> {
  const service = await findService(context, 'api', apiOption);
  const api = service.url;
  const { output, signal, session, env, profile } = context;
  const cache = await claimDirectory(join(profile.directory, 'cache'));
  const client = new ApiClient({ baseUrl: api, allowInsecure: env['ALLOW_INSECURE_API'] === 'true' });
  const workers = new ChunkWorkerPool();
  const progress = output.progress(`fetch ${resource.folder}/${resource.name}`);
  const segments = new DirectorySegmentStore(join(cache.path, 'segments'));
  try {
    const opened = await new FetchResource({
      api: new HttpGrantApi(client, session.tokensOf(service), undefined, signal),
      trust: await profileTrust(context, api, client),
      reader: new PackReader(
        new DirectoryPackStore({ directory: join(cache.path, 'packs'), limitBytes: CACHE_LIMIT_BYTES }),
        [new HttpPackSource()],
      ),
      segments,
      clock: new SystemClock(),
      opener: workers.opener,
    }).run({ resource, version, recipient: { ...(await ephemeralRecipient()), serial: undefined }, signal });
    const { totalBytes, version: got } = opened.statement;
    let downloadedBytes = 0;
    const onProgress = (state: FetchProgress): void => {
      downloadedBytes = state.downloadedBytes;
      progress.update(state.openedBytes, totalBytes, `${formatBytes(downloadedBytes)} downloaded`);
    };
    await fillWholeFile(path, (file) => opened.writeTo(new OpenPlaintextFile(file), onProgress, signal));
    await new ForgetRecipes({
      segments,
      leased: () => Promise.resolve(new Set()),
      nowMs: () => Date.now(),
      limitBytes: RECIPES_LIMIT_BYTES,
    }).run();
    progress.stop();
    report(context, resource, got, path, totalBytes, downloadedBytes);
  } finally {
    progress.stop();
    await workers.close();
    await client.close();
    await cache.release();
  }
}

async function throughLoader(
  context: CommandContext,
  resource: ResourceName,
  version: number | undefined,
  path: string,
  loaderOption: string,
): Promise<void> {
  const service = await findService(context, 'loader', loaderOption);
  const query = version === undefined ? '' : `?version=${String(version)}`;
  const { output, signal, session } = context;
  const response = await call({
    method: 'GET',
    url: `${service.url}/resources/${resource.folder}/${resource.name}${query}`,
    token: await session.token(service),
    accept: 'application/octet-stream',
    signal,
  });
  const totalBytes = Number(response.headers.get('content-length') ?? NaN);
  const got = Number(response.headers.get('x-resource-version'));
  const progress = output.progress(`fetch ${resource.folder}/${resource.name}`, totalBytes);
  try {
    const bytes = await writeWholeFile(path, wholeBody(response, signal), (writtenBytes) =>
      progress.update(writtenBytes, totalBytes),
    );
    progress.stop();
    report(context, resource, got, path, bytes, undefined);
  } finally {
    progress.stop();
  }
}

function report(
  { output }: CommandContext,
  resource: ResourceName,
  version: number,
  path: string,
  bytes: number,
  downloadedBytes: number | undefined,
): void {
  output.result({ ...resource, version, path, bytes, ...(downloadedBytes === undefined ? {} : { downloadedBytes }) }, [
    `Fetched ${resource.folder}/${resource.name} version ${String(version)} to ${path}: ${formatBytes(bytes)}${
      downloadedBytes === undefined ? '' : `, of which ${formatBytes(downloadedBytes)} came over the network`
    }.`,
  ]);
}
