import { hash } from 'node:crypto';
import { Readable } from 'node:stream';

import type { ByteRange, Clock } from '@azaion/kernel';
import { ObjectStore, type PackTarget, ResourceError, type SignedPut } from '@azaion/split-resource';

import { FileObjectServer } from './file-object-server.js';
import { ObjectFiles } from './object-files.js';
import { type ObjectPermission, ObjectUrls } from './object-url.js';

/** Where a file store keeps its objects, and how it is reached. */
export interface FileObjectStoreOptions {
  /** Replicas share it. */
  readonly directory: string;
  /** Base of the signed URLs, asked for each: an ephemeral port is known late. */
  readonly publicUrl: () => string;
  /** 32 bytes, the same on every replica. */
  readonly macKey: Uint8Array;
  readonly clock: Clock;
}

/** Objects as files, for development, the demo and small installations. {@link FileObjectStore.server} answers its signed URLs. */
export class FileObjectStore extends ObjectStore {
  override readonly needsMd5 = false;
  /** Answers the signed URLs. */
  readonly server: FileObjectServer;
  private readonly files: ObjectFiles;
  private readonly urls: ObjectUrls;
  private readonly publicUrl: () => string;

  constructor({ directory, publicUrl, macKey, clock }: FileObjectStoreOptions) {
    super();
    this.files = new ObjectFiles(directory);
    this.urls = new ObjectUrls(macKey, clock);
    this.publicUrl = publicUrl;
    this.server = new FileObjectServer(this.files, this.urls);
  }

  override signGet(key: string, expiresInSeconds: number): Promise<string> {
    return this.signed({ method: 'GET', key }, expiresInSeconds);
  }

  override async signPut(key: string, content: SignedPut, expiresInSeconds: number): Promise<PackTarget> {
    return {
      url: await this.signed({ method: 'PUT', key, content }, expiresInSeconds),
      headers: {
        'content-type': 'application/octet-stream',
        'content-length': String(content.sizeBytes),
        'if-none-match': '*',
      },
    };
  }

  override async head(key: string): Promise<{ readonly sizeBytes: number } | undefined> {
    const sizeBytes = await this.files.sizeOf(key);
    return sizeBytes === undefined ? undefined : { sizeBytes };
  }

  override async read(key: string, range: ByteRange): Promise<Readable> {
    const file = await this.files.open(key);
    const { size } = await file.stat();
    if (range.end > size || range.start >= range.end) {
      await file.close();
      throw new ResourceError('pack.not-found', 'The object has no such bytes.');
    }
    return file.createReadStream({ start: range.start, end: range.end - 1 });
  }

  override async write(key: string, bytes: Uint8Array): Promise<void> {
    const content = {
      sizeBytes: bytes.length,
      sha256: hash('sha256', bytes, 'hex'),
    };
    if ((await this.files.create(key, content, Readable.from([bytes]))) !== 'created')
      throw new ResourceError('pack.exists', 'The object is there already.');
  }

  override delete(key: string): Promise<void> {
    return this.files.delete(key);
  }

  override check(): Promise<void> {
    return this.files.check();
  }

  // Async, so that a refusal is a rejection.
  // eslint-disable-next-line @typescript-eslint/require-await
  private async signed(permission: ObjectPermission, expiresInSeconds: number): Promise<string> {
    this.files.pathOf(permission.key);
    return this.publicUrl().replace(/\/+$/, '') + this.urls.sign(permission, expiresInSeconds);
  }
}
