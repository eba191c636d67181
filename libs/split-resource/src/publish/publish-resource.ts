import { type Readable } from 'node:stream';

import { type ResourceKind, type StatementImage } from '@azaion/crypto';
import { type ResourceName } from '@azaion/kernel';

import { type PackSink } from '../ports/pack-sink.js';
import { type UploadApi } from '../ports/upload-api.js';

/** What to publish. */
export interface PublishRequest {
  readonly resource: ResourceName;
  readonly kind: ResourceKind;
  /** The plaintext; read once, front to back. */
  readonly content: Readable;
  /** Refuse anything longer with `resource.too-large`. */
  readonly maxBytes: number;
  /** For `images`: called after the whole content was read, with what {@link PublishRequest.content} turned out to hold. */
  readonly images?: () => Promise<readonly StatementImage[]>;
  /** Called now and then with running totals. */
  readonly onProgress?: (progress: PublishProgress) => void;
  readonly signal?: AbortSignal;
}

/** Running totals of a publish. */
export interface PublishProgress {
  /** Plaintext bytes read so far. */
  readonly readBytes: number;
  /** Sealed bytes written to the CDN so far. */
  readonly uploadedBytes: number;
  /** Plaintext bytes that did not have to be sent. */
  readonly dedupedBytes: number;
}

/** What a publish came to. */
export interface PublishResult extends PublishProgress {
  readonly version: number;
  /** False when the bytes equal the latest version. */
  readonly created: boolean;
  /** Plaintext length. */
  readonly bytes: number;
  /** Sealed recipe bytes sent to the Admin API. */
  readonly recipeBytes: number;
}

/** F3: cuts, seals and publishes one resource with bounded memory. Nothing is visible until the commit. Source: docs/formats/sealed-resource.md, "Publish". */
export class PublishResource {
  constructor(
    private readonly api: UploadApi,
    private readonly packs: PackSink,
  ) {}

  /** @throws ResourceError; whatever was written is found again by the next attempt. */
  run(request: PublishRequest): Promise<PublishResult> {
    throw new Error(`to be written: ${request.resource.name} ${String(this.api)} ${String(this.packs)}`);
  }
}
