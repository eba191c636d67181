import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';

import {
  DeleteObjectCommand,
  GetObjectCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  PutObjectCommand,
  type S3Client,
} from '@aws-sdk/client-s3';
import { getSignedUrl } from '@aws-sdk/s3-request-presigner';
import type { ByteRange, Secret } from '@azaion/kernel';
import { ObjectStore, type PackTarget, ResourceError, type SignedPut } from '@azaion/split-resource';

import { s3Client, statusOf } from './s3-client.js';

/** How an S3 service is reached. */
export interface S3ObjectStoreOptions {
  /** What this process talks to; `undefined` for AWS. */
  readonly endpoint: string | undefined;
  /** What devices and publishers reach: a signature covers the host. Same as `endpoint` unless given. */
  readonly publicEndpoint: string | undefined;
  readonly region: string;
  readonly bucket: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: Secret<string>;
  /** How long an answer, or the next part of its body, may take; 30 s unless given. */
  readonly answerTimeoutMs?: number;
}

const SIGNED_PUT_HEADERS = new Set(['content-length', 'content-md5', 'if-none-match', 'host']);

/** Objects in a bucket of an S3-compatible service. Its own checksums are not relied on: packs carry ours. */
export class S3ObjectStore extends ObjectStore {
  override readonly needsMd5 = true;
  private readonly client: S3Client;
  private readonly signer: S3Client;
  private readonly bucket: string;

  constructor(options: S3ObjectStoreOptions) {
    super();
    this.bucket = options.bucket;
    this.client = s3Client(options, options.endpoint);
    this.signer = s3Client(options, options.publicEndpoint ?? options.endpoint);
  }

  override signGet(key: string, expiresInSeconds: number): Promise<string> {
    const command = new GetObjectCommand({ Bucket: this.bucket, Key: key });
    return getSignedUrl(this.signer, command, { expiresIn: expiresInSeconds });
  }

  override async signPut(key: string, content: SignedPut, expiresInSeconds: number): Promise<PackTarget> {
    const { sizeBytes, md5 } = content;
    if (md5 === undefined) throw new Error('without an MD5 the service would take any bytes of this size');
    const command = new PutObjectCommand({
      Bucket: this.bucket,
      Key: key,
      ContentLength: sizeBytes,
      ContentMD5: md5,
      IfNoneMatch: '*',
    });
    const url = await getSignedUrl(this.signer, command, {
      expiresIn: expiresInSeconds,
      signableHeaders: SIGNED_PUT_HEADERS,
      unhoistableHeaders: SIGNED_PUT_HEADERS,
    });
    return {
      url,
      headers: {
        'content-length': String(sizeBytes),
        'content-md5': md5,
        'if-none-match': '*',
      },
    };
  }

  override async head(key: string): Promise<{ readonly sizeBytes: number } | undefined> {
    try {
      const { ContentLength: sizeBytes = 0 } = await this.client.send(
        new HeadObjectCommand({ Bucket: this.bucket, Key: key }),
      );
      return { sizeBytes };
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw unavailable(error);
    }
  }

  override async read(key: string, range: ByteRange): Promise<Readable> {
    try {
      const { Body: body, ContentRange: stated } = await this.client.send(
        new GetObjectCommand({ Bucket: this.bucket, Key: key, Range: `bytes=${range.start}-${range.end - 1}` }),
      );
      if (!(body instanceof Readable)) throw new Error('the answer has no body');
      if (!endsBefore(range.end, stated)) return body;
      body.destroy();
      throw new ResourceError('pack.not-found', 'The object ends before the range does.');
    } catch (error) {
      if (isMissing(error) || statusOf(error) === 416)
        throw new ResourceError('pack.not-found', 'There is no such object.', { cause: error });
      throw error instanceof ResourceError ? error : unavailable(error);
    }
  }

  override async write(key: string, bytes: Uint8Array): Promise<void> {
    try {
      await this.client.send(
        new PutObjectCommand({
          Bucket: this.bucket,
          Key: key,
          Body: bytes,
          ContentLength: bytes.length,
          ContentMD5: createHash('md5').update(bytes).digest('base64'),
          IfNoneMatch: '*',
        }),
      );
    } catch (error) {
      if (statusOf(error) === 412)
        throw new ResourceError('pack.exists', 'The object is there already.', { cause: error });
      throw unavailable(error);
    }
  }

  override async delete(key: string): Promise<void> {
    try {
      await this.client.send(new DeleteObjectCommand({ Bucket: this.bucket, Key: key }));
    } catch (error) {
      if (!isMissing(error)) throw unavailable(error);
    }
  }

  override async check(): Promise<void> {
    try {
      await this.client.send(new HeadBucketCommand({ Bucket: this.bucket }));
    } catch (error) {
      throw unavailable(error);
    }
  }

  /** Ends idle connections. */
  close(): void {
    this.client.destroy();
    this.signer.destroy();
  }
}

/** @param stated - `Content-Range`: S3 cuts a range that reaches beyond the end of an object. */
function endsBefore(end: number, stated: string | undefined): boolean {
  const [, size] = /\/(\d+)$/.exec(stated ?? '') ?? [];
  return size !== undefined && Number(size) < end;
}

/** A HEAD answers a missing key without a body, so the status is all there is. 403 is what services say without list permission: it stays an error. */
function isMissing(error: unknown): boolean {
  return statusOf(error) === 404;
}

function unavailable(cause: unknown): ResourceError {
  return new ResourceError('cdn.unavailable', 'The object store does not answer as it should.', { cause });
}
