import { type Readable } from 'node:stream';

import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  HeadObjectCommand,
  PutObjectCommand,
  type S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { type ByteRange, type ResourceName } from '@azaion/kernel';
import { LegacyBigParts, LegacyBigSink, ResourceError } from '@azaion/split-resource';

import { s3Client, statusOf } from '../s3/index.js';
import { type LegacyCdnConfig, type LegacyCdnKeys } from './cdn-config.js';

/** S3 takes at most 10,000 parts: 80 GB. One of them is in memory at a time. */
const PART_BYTES = 8 * 1024 * 1024;
const REGION = 'us-east-1';

/** Big parts in the older CDN: bucket = folder, key = `X.big`. Reads with the downloader's keys. */
export class S3LegacyParts extends LegacyBigParts {
  private client: Promise<S3Client> | undefined;

  /** @param config - Asked when it is needed first, and again after it failed or {@link forget}. */
  constructor(private readonly config: () => Promise<LegacyCdnConfig>) {
    super();
  }

  override async size(resource: ResourceName, signal: AbortSignal): Promise<number | undefined> {
    try {
      const { ContentLength: sizeBytes = 0 } = await (
        await this.s3()
      ).send(new HeadObjectCommand(placeOf(resource)), {
        abortSignal: signal,
      });
      return sizeBytes;
    } catch (error) {
      signal.throwIfAborted();
      if (statusOf(error) === 404) return undefined;
      throw refused(error);
    }
  }

  override async open(resource: ResourceName, { start, end }: ByteRange, signal: AbortSignal): Promise<Readable> {
    try {
      const command = new GetObjectCommand({ ...placeOf(resource), Range: `bytes=${start}-${end - 1}` });
      const { Body: body } = await (await this.s3()).send(command, { abortSignal: signal });
      return body as Readable;
    } catch (error) {
      signal.throwIfAborted();
      throw refused(error);
    }
  }

  /** Ends connections; the next call asks for the configuration again. */
  forget(): void {
    void this.client?.then((client) => client.destroy()).catch(() => undefined);
    this.client = undefined;
  }

  private s3(): Promise<S3Client> {
    this.client ??= this.config().then(({ endpoint, downloader }) => clientOf(endpoint, downloader));
    this.client.catch(() => (this.client = undefined));
    return this.client;
  }
}

/** Writes big parts with the uploader's keys, in parts: nothing is visible before the last one. */
export class S3LegacySink extends LegacyBigSink {
  constructor(private readonly config: () => Promise<LegacyCdnConfig>) {
    super();
  }

  override async put(resource: ResourceName, content: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<void> {
    const { endpoint, uploader } = await this.config();
    if (uploader === undefined)
      throw new ResourceError('api.forbidden', 'This account has no keys to upload to the CDN.');
    const client = clientOf(endpoint, uploader);
    try {
      await this.upload(client, resource, parts(content), signal);
    } finally {
      client.destroy();
    }
  }

  private async upload(
    client: S3Client,
    resource: ResourceName,
    pieces: AsyncGenerator<Buffer, void>,
    signal: AbortSignal,
  ): Promise<void> {
    const place = placeOf(resource);
    const options = { abortSignal: signal };
    const first = await pieces.next();
    const second = first.done === true ? first : await pieces.next();
    if (first.done === true || second.done === true) {
      const body = first.done === true ? Buffer.alloc(0) : first.value;
      await sent(() => client.send(new PutObjectCommand({ ...place, Body: body }), options), signal);
      return;
    }
    const { UploadId } = await sent(() => client.send(new CreateMultipartUploadCommand(place), options), signal);
    const done: { ETag: string | undefined; PartNumber: number }[] = [];
    const put = async (body: Buffer): Promise<void> => {
      const PartNumber = done.length + 1;
      const command = new UploadPartCommand({ ...place, UploadId, PartNumber, Body: body });
      const { ETag } = await sent(() => client.send(command, options), signal);
      done.push({ ETag, PartNumber });
    };
    try {
      await put(first.value);
      await put(second.value);
      for await (const piece of pieces) await put(piece);
      const complete = new CompleteMultipartUploadCommand({ ...place, UploadId, MultipartUpload: { Parts: done } });
      await sent(() => client.send(complete, options), signal);
    } catch (error) {
      // What was sent would be kept, invisible, for ever. The store's own rules have to do when it cannot be told.
      await client.send(new AbortMultipartUploadCommand({ ...place, UploadId })).catch(() => undefined);
      throw error;
    }
  }
}

/** Cuts a stream into pieces of one size, the last one shorter. */
async function* parts(content: AsyncIterable<Uint8Array>): AsyncGenerator<Buffer, void> {
  let piece = Buffer.allocUnsafe(PART_BYTES);
  let filledBytes = 0;
  for await (const bytes of content)
    for (let at = 0; at < bytes.length;) {
      const taken = Math.min(bytes.length - at, PART_BYTES - filledBytes);
      piece.set(bytes.subarray(at, at + taken), filledBytes);
      filledBytes += taken;
      at += taken;
      if (filledBytes < PART_BYTES) continue;
      yield piece;
      piece = Buffer.allocUnsafe(PART_BYTES);
      filledBytes = 0;
    }
  if (filledBytes > 0) yield piece.subarray(0, filledBytes);
}

function placeOf({ folder, name }: ResourceName): { readonly Bucket: string; readonly Key: string } {
  return { Bucket: folder, Key: `${name}.big` };
}

function clientOf(endpoint: string, keys: LegacyCdnKeys): S3Client {
  return s3Client({ region: REGION, ...keys }, endpoint);
}

async function sent<Answer>(send: () => Promise<Answer>, signal: AbortSignal): Promise<Answer> {
  try {
    return await send();
  } catch (error) {
    signal.throwIfAborted();
    throw refused(error);
  }
}

/** Without permission to list, a service says 403 of what is not there. */
function refused(cause: unknown): ResourceError {
  const status = statusOf(cause);
  return status === 403 || status === 404
    ? new ResourceError(
        'cdn.missing',
        'The CDN does not have this content, or its keys do not open it: tell your administrator.',
        {
          cause,
        },
      )
    : new ResourceError('cdn.unavailable', 'The content cannot be reached at present: try again later.', { cause });
}
