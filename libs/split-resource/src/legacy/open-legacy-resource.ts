import { createHash } from 'node:crypto';

import { CryptoError, legacyBlockDecipher } from '@azaion/crypto';
import { type ByteRange, type ResourceName } from '@azaion/kernel';

import { ResourceError } from '../errors.js';
import { type LegacyBigParts, type LegacySmallParts } from './legacy-parts.js';

const BLOCK_BYTES = 16;
/** An IV and one block of padding. */
const MIN_ENCRYPTED_BYTES = 2 * BLOCK_BYTES;
/** Openings of a range that brought no byte, one after the other, until it is given up. */
const MAX_FRUITLESS_OPENINGS = 3;

/** A resource of the older format, ready to be read. Its content is **not authenticated**: only its padding was checked. */
export interface OpenedLegacyResource {
  /** Weak: it tells the ciphertext's length, beginning and end. */
  readonly etag: string;
  /** Plaintext bytes. */
  readonly totalBytes: number;
  /**
   * Decrypts a range of the plaintext; without one, everything. Memory is bounded by the pieces of the source.
   *
   * @throws ResourceError `cdn.unavailable` when the source breaks off; not before the first byte only.
   */
  read(range: ByteRange | undefined, signal: AbortSignal): AsyncGenerator<Buffer, void>;
}

/**
 * F2 of the older protocol: small part, then the big part from the first source where both decrypt. The last block is decrypted before
 * anything is handed out: a big part that does not belong to the small one shows there, and the next source is tried. Source: docs/formats/legacy.md.
 */
export class OpenLegacyResource {
  /**
   * @param bigs - In the order in which they are tried: what lies on the device before the CDN.
   * @param aesKey - 32 bytes.
   */
  constructor(
    private readonly smalls: LegacySmallParts,
    private readonly bigs: readonly LegacyBigParts[],
    private readonly aesKey: Uint8Array,
  ) {}

  /** @throws ResourceError `resource.not-found` | `cdn.missing` | `cdn.unavailable` | `api.*`; CryptoError `legacy.invalid`. */
  async run(resource: ResourceName, signal: AbortSignal): Promise<OpenedLegacyResource> {
    const small = await this.smalls.read(resource, signal);
    let failure: Error | undefined;
    for (const source of this.bigs) {
      try {
        const bigBytes = await source.size(resource, signal);
        if (bigBytes !== undefined) return await this.open(new Ciphertext(resource, small, source, bigBytes), signal);
      } catch (error) {
        signal.throwIfAborted();
        if (!(error instanceof ResourceError) && !(error instanceof CryptoError)) throw error;
        failure = error;
      }
    }
    throw (
      failure ??
      new ResourceError('cdn.missing', 'A part of the content is missing from the CDN: tell your administrator.')
    );
  }

  private async open(ciphertext: Ciphertext, signal: AbortSignal): Promise<OpenedLegacyResource> {
    const { totalBytes: encryptedBytes } = ciphertext;
    if (encryptedBytes < MIN_ENCRYPTED_BYTES || encryptedBytes % BLOCK_BYTES !== 0) throw invalid();
    const tail = await collected(
      ciphertext.read({ start: encryptedBytes - MIN_ENCRYPTED_BYTES, end: encryptedBytes }, signal),
    );
    const last = legacyBlockDecipher(this.aesKey, tail.subarray(0, BLOCK_BYTES))(tail.subarray(BLOCK_BYTES));
    const totalBytes = encryptedBytes - BLOCK_BYTES - paddingBytes(last);
    const digest = createHash('sha256')
      .update(ciphertext.small)
      .update(tail)
      .update(String(encryptedBytes))
      .digest('hex');
    return {
      etag: `W/"legacy-${digest.slice(0, 32)}"`,
      totalBytes,
      read: (range, readSignal) =>
        this.plaintext(ciphertext, range ?? { start: 0, end: totalBytes }, AbortSignal.any([signal, readSignal])),
    };
  }

  private async *plaintext(
    ciphertext: Ciphertext,
    { start, end }: ByteRange,
    signal: AbortSignal,
  ): AsyncGenerator<Buffer, void> {
    if (start >= end) return;
    const firstBlock = Math.floor(start / BLOCK_BYTES);
    // The block before the first one is what it is chained to; before block 0 stands the IV.
    const from = firstBlock * BLOCK_BYTES;
    const to = (Math.ceil(end / BLOCK_BYTES) + 1) * BLOCK_BYTES;
    let decipher: ((blocks: Uint8Array) => Buffer) | undefined;
    let at = from;
    for await (const blocks of wholeBlocks(ciphertext.read({ start: from, end: to }, signal))) {
      const body = decipher === undefined ? blocks.subarray(BLOCK_BYTES) : blocks;
      decipher ??= legacyBlockDecipher(this.aesKey, blocks.subarray(0, BLOCK_BYTES));
      if (body.length === 0) continue;
      const plaintext = decipher(body);
      const piece = plaintext.subarray(Math.max(0, start - at), Math.min(plaintext.length, end - at));
      at += plaintext.length;
      if (piece.length > 0) yield piece;
    }
  }
}

/** The two parts as one run of bytes. */
class Ciphertext {
  readonly totalBytes: number;

  constructor(
    private readonly resource: ResourceName,
    readonly small: Uint8Array,
    private readonly source: LegacyBigParts,
    bigBytes: number,
  ) {
    this.totalBytes = small.length + bigBytes;
  }

  /** Exactly the bytes of the range, or an error. */
  async *read({ start, end }: ByteRange, signal: AbortSignal): AsyncGenerator<Uint8Array, void> {
    const border = this.small.length;
    if (start < border) yield this.small.subarray(start, Math.min(end, border));
    if (end > border) yield* this.readBig({ start: Math.max(start, border) - border, end: end - border }, signal);
  }

  /** A source that breaks off is asked again for the rest, as long as it brings something. */
  private async *readBig({ start, end }: ByteRange, signal: AbortSignal): AsyncGenerator<Uint8Array, void> {
    let at = start;
    for (let fruitless = 0; at < end;) {
      const before = at;
      let failure: unknown;
      const stream = await this.source.open(this.resource, { start: at, end }, signal);
      try {
        for await (const part of stream as AsyncIterable<Uint8Array>) {
          signal.throwIfAborted();
          const wanted = part.subarray(0, end - at);
          at += wanted.length;
          yield wanted;
          if (at >= end) return;
        }
      } catch (error) {
        signal.throwIfAborted();
        failure = error;
      } finally {
        stream.destroy();
      }
      fruitless = at > before ? 0 : fruitless + 1;
      if (fruitless >= MAX_FRUITLESS_OPENINGS)
        throw new ResourceError('cdn.unavailable', 'The content cannot be reached at present: try again later.', {
          cause: failure,
        });
    }
  }
}

/** Pieces whose lengths are multiples of a block; what is cut is carried over. */
async function* wholeBlocks(parts: AsyncIterable<Uint8Array>): AsyncGenerator<Buffer, void> {
  let carried = Buffer.alloc(0);
  for await (const part of parts) {
    const joined =
      carried.length === 0 ? Buffer.from(part.buffer, part.byteOffset, part.length) : Buffer.concat([carried, part]);
    const whole = joined.length - (joined.length % BLOCK_BYTES);
    carried = Buffer.from(joined.subarray(whole));
    if (whole > 0) yield joined.subarray(0, whole);
  }
}

async function collected(parts: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const all: Uint8Array[] = [];
  for await (const part of parts) all.push(Uint8Array.from(part)); // their memory may be used for the next ones
  return Buffer.concat(all);
}

/** PKCS#7 (RFC 5652 §6.3). */
function paddingBytes(block: Uint8Array): number {
  const count = block.at(-1) ?? 0;
  if (count < 1 || count > BLOCK_BYTES || block.subarray(-count).some((byte) => byte !== count)) throw invalid();
  return count;
}

/** One answer for a wrong key, damaged content and bad padding. */
function invalid(): CryptoError {
  return new CryptoError(
    'legacy.invalid',
    'The content does not decrypt with this key: wrong key, or damaged content.',
  );
}
