import { open, stat } from 'node:fs/promises';

import { ChunkWorkerPool } from '@azaion/adapters/chunk-workers';
import { FilePlaintext } from '@azaion/adapters/file-store';
import { HttpPackSink } from '@azaion/adapters/http-packs';
import { inspectWhilePassing } from '@azaion/adapters/image-archive';
import { ApiClient, HttpUploadApi } from '@azaion/adapters/resource-api';
import type { ResourceKind } from '@azaion/crypto';
import { PublishResource } from '@azaion/split-resource';

import { usageFailure } from '../cli-failure.js';
import { type CommandContext, findService } from '../command-context.js';
import { formatBytes } from '../format.js';
import { nameForFile } from '../resource-reference.js';

const READ_BYTES = 1024 * 1024;
/** Below this, starting threads takes longer than they save. */
const THREADS_FROM_BYTES = 16 * 1024 * 1024;

/** Options of `azaion publish`. */
export interface PublishOptions {
  readonly api?: string;
  readonly folder: string;
  readonly name?: string;
  readonly kind: ResourceKind;
}

/** F3: cuts, seals and publishes a file. Only what the Admin API does not know yet is sent. */
export async function publish(context: CommandContext, path: string, options: PublishOptions): Promise<void> {
  const resource = nameForFile(path, options.folder, options.name);
  const file = await stat(path).catch(() => undefined);
  if (file?.isFile() !== true) throw usageFailure(`${path} is not a file that can be read.`, 'Check the path.');
  const service = await findService(context, 'api', options.api);
  const { output, signal, session } = context;
  const handle = await open(path);
  const source =
    options.kind === 'images'
      ? inspectWhilePassing(handle.createReadStream({ highWaterMark: READ_BYTES, autoClose: false }))
      : { content: new FilePlaintext(handle) };
  const client = new ApiClient({ baseUrl: service.url, allowInsecure: context.env['ALLOW_INSECURE_API'] === 'true' });
  const workers = file.size < THREADS_FROM_BYTES ? undefined : new ChunkWorkerPool();
  const progress = output.progress(`publish ${resource.folder}/${resource.name}`, file.size);
  try {
    const published = await new PublishResource(
      new HttpUploadApi(client, session.tokensOf(service)),
      new HttpPackSink(),
      workers === undefined ? {} : { sealer: workers.sealer },
    ).run({
      resource,
      kind: options.kind,
      ...source,
      maxBytes: Number.MAX_SAFE_INTEGER,
      onProgress: ({ readBytes, uploadedBytes }) =>
        progress.update(readBytes, file.size, `${formatBytes(uploadedBytes)} sent`),
      signal,
    });
    progress.stop();
    const { version, created, bytes: totalBytes, newBytes, dedupedBytes, uploadedBytes, recipeBytes } = published;
    const figures = { bytes: totalBytes, newBytes, dedupedBytes, uploadedBytes, recipeBytes };
    output.result({ ...resource, version, created, ...figures }, [
      created
        ? `Published ${resource.folder}/${resource.name} version ${String(version)}: ${formatBytes(totalBytes)}, of which ${formatBytes(newBytes)} were new; ${formatBytes(uploadedBytes)} had to be sent.`
        : `Nothing to do: version ${String(version)} of ${resource.folder}/${resource.name} already has these bytes.`,
    ]);
  } finally {
    progress.stop();
    await handle.close();
    await workers?.close();
    await client.close();
  }
}
