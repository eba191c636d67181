import { pipeline, Readable } from 'node:stream';

import { legacyEncrypt, legacySmallBytes } from '@azaion/crypto';
import { type ResourceName } from '@azaion/kernel';

import { ResourceError } from '../errors.js';
import { type LegacyBigSink, type LegacySmallParts } from './legacy-parts.js';

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

/**
 * F3 of the older protocol: encrypts, cuts, and writes the big part before the small one, so that no reader is sent to the CDN for what is
 * not there. Memory holds the beginning only. Source: docs/formats/legacy.md.
 */
export class PublishLegacyResource {
  /** @param aesKey - 32 bytes. */
  constructor(
    private readonly smalls: LegacySmallParts,
    private readonly bigs: LegacyBigSink,
    private readonly aesKey: Uint8Array,
  ) {}

  /** @throws ResourceError `resource.too-large` | `cdn.unavailable` | `api.*`; what the content throws. */
  async run({ resource, content, maxBytes, signal }: LegacyPublish): Promise<LegacyPublished> {
    let bytes = 0;
    const counted = async function* (): AsyncGenerator<Uint8Array> {
      for await (const part of content) {
        bytes += part.length;
        if (bytes > maxBytes)
          throw new ResourceError('resource.too-large', `The file is larger than the ${maxBytes} bytes accepted here.`);
        yield part;
      }
    };
    const encrypting = legacyEncrypt(this.aesKey);
    pipeline(Readable.from(counted(), { objectMode: false }), encrypting, () => undefined);
    try {
      const { small, big, uploaded } = await cut(encrypting);
      await this.bigs.put(resource, big, signal);
      signal.throwIfAborted();
      await this.smalls.write(resource, small, signal);
      return { bytes, uploadedBytes: uploaded() };
    } finally {
      encrypting.destroy();
    }
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
