import { createHash, hash } from 'node:crypto';
import { pipeline, Readable } from 'node:stream';

import { legacyEncrypt, legacySmallBytes } from '@azaion/crypto';
import { DomainError, type ResourceName } from '@azaion/kernel';

import { ResourceError } from '../errors.js';
import type { KnownLegacyParts } from './known-legacy-parts.js';
import type { LegacyBigParts, LegacyBigSink, LegacySmallParts } from './legacy-parts.js';

/** From this length on the small part has its full size, whatever is still to come. */
const DECIDED_BYTES = 10_240;

/** What to publish in the older format. */
export interface LegacyPublish {
  readonly resource: ResourceName;
  /** Read once; when it throws, the small part is not written. */
  readonly content: AsyncIterable<Uint8Array>;
  readonly maxBytes: number;
  readonly signal: AbortSignal;
}

/** What was published. */
export interface LegacyPublished {
  /** Plaintext bytes. */
  readonly bytes: number;
  /** Encrypted bytes that went to the CDN. */
  readonly uploadedBytes: number;
}

/** Where the parts go and what encrypts them. */
export interface LegacyPublishing {
  readonly smalls: LegacySmallParts;
  readonly sink: LegacyBigSink;
  /** Where others read what {@link sink} wrote. */
  readonly cdn: LegacyBigParts;
  /** 32 bytes. */
  readonly aesKey: Uint8Array;
  /** Told the SHA-256 of what was published. */
  readonly known: KnownLegacyParts;
}

/**
 * F3 of the older protocol: encrypts, cuts, and writes the big part before the small one, so that no reader is sent to the CDN for what is
 * not there. The big part says which small one it belongs to. Memory holds the beginning only. Source: docs/formats/legacy.md.
 */
export class PublishLegacyResource {
  constructor(private readonly using: LegacyPublishing) {}

  /**
   * @throws ResourceError `resource.too-large` | `cdn.unavailable` | `api.*` | `upload.conflict` (somebody else uploaded the same file at
   *   the same time); what the content throws.
   */
  async run({ resource, content, maxBytes, signal }: LegacyPublish): Promise<LegacyPublished> {
    const { smalls, sink, aesKey, known } = this.using;
    let bytes = 0;
    const hashing = createHash('sha256');
    const counted = async function* (): AsyncGenerator<Uint8Array> {
      for await (const part of content) {
        bytes += part.length;
        if (bytes > maxBytes)
          throw new ResourceError('resource.too-large', `The file is larger than the ${maxBytes} bytes accepted here.`);
        hashing.update(part);
        yield part;
      }
    };
    const encrypting = legacyEncrypt(aesKey);
    pipeline(Readable.from(counted(), { objectMode: false }), encrypting, () => undefined);
    try {
      const { small, big, uploaded } = await cut(encrypting);
      const smallSha256 = hash('sha256', small);
      await sink.put(resource, big, smallSha256, signal);
      signal.throwIfAborted();
      await smalls.write(resource, small, signal);
      known.published(smallSha256, hashing.digest('hex'));
      await this.checkStillThere(resource, smallSha256, signal);
      return { bytes, uploadedBytes: uploaded() };
    } finally {
      encrypting.destroy();
    }
  }

  /** Two uploads at once may leave the big part of one and the small part of the other: at least one of them sees it here. */
  private async checkStillThere(resource: ResourceName, smallSha256: string, signal: AbortSignal): Promise<void> {
    let kept: string | undefined;
    try {
      kept = (await this.using.cdn.find(resource, signal))?.smallSha256;
    } catch (error) {
      if (error instanceof DomainError) return; // whoever may write need not be able to read, and both parts were taken
      throw error;
    }
    if (kept !== undefined && kept !== smallSha256)
      throw new ResourceError(
        'upload.conflict',
        'Somebody else uploaded this file at the same time, and the two uploads are mixed: upload it again.',
      );
  }
}

interface Cut {
  readonly small: Buffer;
  readonly big: AsyncIterable<Uint8Array>;
  /** Bytes of the big part that were handed out. */
  readonly uploaded: () => number;
}

/** The whole length decides where the cut is, but from {@link DECIDED_BYTES} on it is always the same place. */
async function cut(encrypted: Readable): Promise<Cut> {
  const parts = encrypted[Symbol.asyncIterator]() as AsyncIterator<Buffer, undefined>;
  const head: Buffer[] = [];
  let headBytes = 0;
  while (headBytes < DECIDED_BYTES) {
    const next = await parts.next();
    if (next.done === true) break;
    head.push(next.value);
    headBytes += next.value.length;
  }
  const joined = Buffer.concat(head);
  const smallBytes = legacySmallBytes(headBytes);
  let uploadedBytes = 0;
  const big = async function* (): AsyncGenerator<Uint8Array> {
    const first = joined.subarray(smallBytes);
    uploadedBytes += first.length;
    yield first;
    for (let next = await parts.next(); next.done !== true; next = await parts.next()) {
      uploadedBytes += next.value.length;
      yield next.value;
    }
  };
  return { small: joined.subarray(0, smallBytes), big: big(), uploaded: () => uploadedBytes };
}
