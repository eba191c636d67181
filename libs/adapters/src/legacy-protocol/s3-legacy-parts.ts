import type { Readable } from 'node:stream';

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
import { type ByteRange, DomainError, type ResourceName } from '@azaion/kernel';
import { type FoundBigPart, LegacyBigParts, LegacyBigSink, ResourceError } from '@azaion/split-resource';

import { s3Client, statusOf } from '../s3/index.js';
import type { LegacyCdnConfig, LegacyCdnKeys } from './cdn-config.js';

/** S3 takes at most 10,000 parts: 80 GB. One of them is in memory at a time. */
const PART_BYTES = 8 * 1024 * 1024;
const REGION = 'us-east-1';
const MAX_STATE_CHARS = 300;

/** Says which small part belongs to an object. Older clients pass over it, and what they write does not have it. */
const SMALL_SHA256 = 'azaion-small-sha256';

/** How the older CDN is reached. */
export interface S3LegacyOptions {
  /** URL of an HTTP proxy. */
  readonly proxy?: string | undefined;
}

interface Connected {
  readonly config: LegacyCdnConfig;
  readonly client: S3Client;
}

/** Big parts in the older CDN: bucket = folder, key = `X.big`. Reads with the downloader's keys; keys that are refused are asked for anew. */
export class S3LegacyParts extends LegacyBigParts {
  private connected: Promise<Connected> | undefined;
  private renewing: Promise<Connected> | undefined;

  /** @param config - Asked when it is needed first, and again after it failed, its keys were refused, or {@link forget}. */
  constructor(
    private readonly config: () => Promise<LegacyCdnConfig>,
    private readonly options: S3LegacyOptions = {},
  ) {
    super();
  }

  override async find(resource: ResourceName, signal: AbortSignal): Promise<FoundBigPart | undefined> {
    try {
      const { ContentLength, ETag, Metadata } = await this.called((client) =>
        client.send(new HeadObjectCommand(placeOf(resource)), { abortSignal: signal }),
      );
      const smallSha256 = Metadata?.[SMALL_SHA256];
      return {
        sizeBytes: ContentLength ?? 0,
        state: (ETag ?? '').slice(0, MAX_STATE_CHARS),
        smallSha256: smallSha256 !== undefined && /^[0-9a-f]{64}$/.test(smallSha256) ? smallSha256 : undefined,
        open: (range, reading) => this.opened(resource, ETag, range, reading),
      };
    } catch (error) {
      signal.throwIfAborted();
      if (statusOf(error) === 404) return undefined;
      throw refused(error);
    }
  }

  /** Ends connections; the next call asks for the configuration again. */
  forget(): void {
    void this.connected?.then(({ client }) => client.destroy()).catch(() => undefined);
    this.connected = undefined;
  }

  private async opened(
    resource: ResourceName,
    etag: string | undefined,
    { start, end }: ByteRange,
    signal: AbortSignal,
  ): Promise<Readable> {
    try {
      const command = new GetObjectCommand({
        ...placeOf(resource),
        ...(etag === undefined ? {} : { IfMatch: etag }),
        Range: `bytes=${start}-${end - 1}`,
      });
      const { Body: body } = await this.called((client) => client.send(command, { abortSignal: signal }));
      return body as Readable;
    } catch (error) {
      signal.throwIfAborted();
      if (statusOf(error) === 412)
        throw new ResourceError('cdn.unavailable', 'The content was replaced while it was read: ask for it again.', {
          cause: error,
        });
      throw refused(error);
    }
  }

  /** One call, and once more with newer keys when there are any: a session outlives the keys of the CDN. */
  private async called<Answer>(call: (client: S3Client) => Promise<Answer>): Promise<Answer> {
    const used = await this.connection();
    try {
      return await call(used.client);
    } catch (error) {
      const status = statusOf(error);
      if (status !== 401 && status !== 403) throw error;
      const renewed = await this.renewed(used);
      if (renewed === used) throw error;
      return call(renewed.client);
    }
  }

  private connection(): Promise<Connected> {
    if (this.connected !== undefined) return this.connected;
    const connecting = this.config().then((config) => this.connect(config));
    this.connected = connecting;
    connecting.catch(() => {
      if (this.connected === connecting) this.connected = undefined;
    });
    return connecting;
  }

  /** What there is after keys were refused; the same when the configuration says nothing else, or cannot be had. */
  private async renewed(used: Connected): Promise<Connected> {
    const current = await this.connection();
    if (current !== used) return current;
    this.renewing ??= this.config()
      .then((config) => {
        if (isSame(config, used.config)) return used;
        const renewed = this.connect(config); // the other one is left to those who still read through it
        this.connected = Promise.resolve(renewed);
        return renewed;
      })
      .catch(() => used)
      .finally(() => (this.renewing = undefined));
    return this.renewing;
  }

  private connect(config: LegacyCdnConfig): Connected {
    return { config, client: clientOf(config.endpoint, config.downloader, this.options) };
  }
}

function isSame(config: LegacyCdnConfig, other: LegacyCdnConfig): boolean {
  return (
    config.endpoint === other.endpoint &&
    config.downloader.accessKeyId === other.downloader.accessKeyId &&
    config.downloader.secretAccessKey.reveal() === other.downloader.secretAccessKey.reveal()
  );
}

/** Writes big parts with the uploader's keys, in parts: nothing is visible before the last one. */
export class S3LegacySink extends LegacyBigSink {
  constructor(
    private readonly config: () => Promise<LegacyCdnConfig>,
    private readonly options: S3LegacyOptions = {},
  ) {
    super();
  }

  override async put(
    resource: ResourceName,
    content: AsyncIterable<Uint8Array>,
    smallSha256: string,
    signal: AbortSignal,
  ): Promise<void> {
    const { endpoint, uploader } = await this.config();
    if (uploader === undefined)
      throw new ResourceError('api.forbidden', 'This account has no keys to upload to the CDN.');
    const client = clientOf(endpoint, uploader, this.options);
    try {
      const written = { ...placeOf(resource), Metadata: { [SMALL_SHA256]: smallSha256 } };
      await this.upload(client, written, parts(content), signal);
    } finally {
      client.destroy();
    }
  }

  private async upload(
    client: S3Client,
    written: Place & { readonly Metadata: Record<string, string> },
    pieces: AsyncGenerator<Buffer, void>,
    signal: AbortSignal,
  ): Promise<void> {
    const place: Place = { Bucket: written.Bucket, Key: written.Key };
    const options = { abortSignal: signal };
    const first = await pieces.next();
    const second = first.done === true ? first : await pieces.next();
    if (first.done === true || second.done === true) {
      const body = first.done === true ? Buffer.alloc(0) : first.value;
      await sent(() => client.send(new PutObjectCommand({ ...written, Body: body }), options), signal);
      return;
    }
    const { UploadId } = await sent(() => client.send(new CreateMultipartUploadCommand(written), options), signal);
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

interface Place {
  readonly Bucket: string;
  readonly Key: string;
}

function placeOf({ folder, name }: ResourceName): Place {
  return { Bucket: folder, Key: `${name}.big` };
}

function clientOf(endpoint: string, keys: LegacyCdnKeys, { proxy }: S3LegacyOptions): S3Client {
  return s3Client({ region: REGION, ...keys, proxy }, endpoint);
}

async function sent<Answer>(send: () => Promise<Answer>, signal: AbortSignal): Promise<Answer> {
  try {
    return await send();
  } catch (error) {
    signal.throwIfAborted();
    throw refused(error);
  }
}

/** Without permission to list, a service says 403 of what is not there. What the Admin API said when it was asked for the keys stays as it is. */
function refused(cause: unknown): Error {
  if (cause instanceof DomainError) return cause;
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
