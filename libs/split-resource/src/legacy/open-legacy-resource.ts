import { createHash, hash } from 'node:crypto';

import { CryptoError, legacyBlockDecipher } from '@azaion/crypto';
import { type ByteRange, DomainError, type ResourceName } from '@azaion/kernel';

import { ResourceError } from '../errors.js';
import type { KnownLegacyParts } from './known-legacy-parts.js';
import type { FoundBigPart, LegacyBigParts, LegacySmallParts } from './legacy-parts.js';

const BLOCK_BYTES = 16;
/** An IV and one block of padding. */
const MIN_ENCRYPTED_BYTES = 2 * BLOCK_BYTES;
/** What is compared of two big parts beside their length: other contents, and the same contents encrypted anew, end differently. */
const COMPARED_BYTES = 32;
/** How long the CDN is waited for when there is a big part on the device. */
const CDN_PATIENCE_MS = 5_000;
/** Openings of a range that brought no byte, one after the other, until it is given up. */
const MAX_FRUITLESS_OPENINGS = 3;

/** Where the parts lie and what opens them. */
export interface LegacyOpening {
  readonly smalls: LegacySmallParts;
  /** Big parts that lie on the device; `undefined` where none do. */
  readonly local?: LegacyBigParts | undefined;
  readonly cdn: LegacyBigParts;
  /** 32 bytes. */
  readonly aesKey: Uint8Array;
  readonly known: KnownLegacyParts;
}

/**
 * A resource of the older format, ready to be read. Its content is **not authenticated**: its padding was checked, and where the SHA-256 of
 * the plaintext is known, a read of everything compares it.
 */
export interface OpenedLegacyResource {
  /** Weak: it tells the ciphertext's length, beginning and end. */
  readonly etag: string;
  /** Plaintext bytes. */
  readonly totalBytes: number;
  /**
   * Decrypts a range of the plaintext; without one, everything. Memory is bounded by the pieces of the source.
   *
   * @throws ResourceError `cdn.unavailable` when the source breaks off or was replaced; CryptoError `legacy.invalid` in place of the last
   *   piece of everything when its SHA-256 is known and another. Neither before the first byte only.
   */
  read(range: ByteRange | undefined, signal: AbortSignal): AsyncGenerator<Buffer, void>;
}

/**
 * F2 of the older protocol: small part, then the big part on the device, then that of the CDN. Nothing in the format ties the two parts
 * together: every resource has the same key, and the last blocks of any big part decrypt to a good padding. So what lies on the device is
 * used only while it looks like what the CDN has, or while the CDN cannot say; and what anybody knows about the parts is compared: which
 * small part a big one was written with, before the first byte, and the SHA-256 of the plaintext, before the last. Source: docs/formats/legacy.md.
 */
export class OpenLegacyResource {
  constructor(private readonly using: LegacyOpening) {}

  /** @throws ResourceError `resource.not-found` | `resource.integrity` (parts of two uploads) | `cdn.missing` | `cdn.unavailable` | `api.*`; CryptoError `legacy.invalid`. */
  async run(resource: ResourceName, signal: AbortSignal): Promise<OpenedLegacyResource> {
    const small = await this.using.smalls.read(resource, signal);
    const parts = { resource, small, smallSha256: hash('sha256', small) };
    let failure: Error | undefined;
    try {
      const local = await this.localPart(parts, signal);
      if (local !== undefined) return await this.open(parts, local, signal);
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof DomainError)) throw error;
      failure = error;
    }
    const found = await this.using.cdn.find(resource, signal);
    if (found !== undefined) return this.open(parts, found, signal);
    throw (
      failure ??
      new ResourceError('cdn.missing', 'A part of the content is missing from the CDN: tell your administrator.')
    );
  }

  /** What lies on the device, unless somebody knows better. */
  private async localPart(parts: LegacyParts, signal: AbortSignal): Promise<FoundBigPart | undefined> {
    const { known, local } = this.using;
    const found = await local?.find(parts.resource, signal);
    if (found === undefined || known.isMisfit(parts.smallSha256, found.state)) return undefined;
    const there = await this.askedOfCdn((asking) => this.using.cdn.find(parts.resource, asking), signal);
    if (there === undefined) return found;
    if (there.smallSha256 !== undefined && there.smallSha256 !== parts.smallSha256)
      // An upload is under way or was cut off: only a hash can say now whether this is the part from before it.
      return this.plaintextOf(parts, found) === undefined ? undefined : found;
    return (await this.looksAlike(found, there, signal)) ? found : undefined;
  }

  private async looksAlike(found: FoundBigPart, there: FoundBigPart, signal: AbortSignal): Promise<boolean> {
    if (found.sizeBytes !== there.sizeBytes) return false;
    if (found.sizeBytes === 0 || this.using.known.isAgreed(found.state, there.state)) return true;
    const tail = { start: Math.max(0, found.sizeBytes - COMPARED_BYTES), end: found.sizeBytes };
    const theirs = await this.askedOfCdn((asking) => collected(readBig(there, tail, asking)), signal);
    if (theirs === undefined) return true; // out of reach since: as if it had not been asked
    if (!theirs.equals(await collected(readBig(found, tail, signal)))) return false;
    this.using.known.agreed(found.state, there.state);
    return true;
  }

  /** An answer of the CDN, for whoever can go on without: `undefined` when there is none, or none in time. */
  private async askedOfCdn<Answer>(
    ask: (asking: AbortSignal) => Promise<Answer | undefined>,
    signal: AbortSignal,
  ): Promise<Answer | undefined> {
    const { known } = this.using;
    if (!known.isCdnAsked) return undefined;
    const patience = AbortSignal.timeout(CDN_PATIENCE_MS);
    try {
      return await ask(AbortSignal.any([signal, patience]));
    } catch (error) {
      signal.throwIfAborted();
      if (!patience.aborted && !(error instanceof DomainError)) throw error;
      // What is refused to one caller, or is not there, says nothing of what others ask for.
      if (patience.aborted || isSilence(error)) known.cdnIsSilent();
      return undefined;
    }
  }

  private plaintextOf({ smallSha256 }: LegacyParts, found: FoundBigPart): string | undefined {
    return found.plaintextSha256 ?? this.using.known.plaintextOf(smallSha256);
  }

  private async open(parts: LegacyParts, found: FoundBigPart, signal: AbortSignal): Promise<OpenedLegacyResource> {
    const { aesKey, known } = this.using;
    if (found.smallSha256 !== undefined && found.smallSha256 !== parts.smallSha256)
      throw new ResourceError(
        'resource.integrity',
        'The two parts of this file come from different uploads: try again when the upload is complete, or upload it again.',
      );
    if (known.isMisfit(parts.smallSha256, found.state)) throw invalid();
    const ciphertext = new Ciphertext(parts.small, found);
    const { totalBytes: encryptedBytes } = ciphertext;
    if (encryptedBytes < MIN_ENCRYPTED_BYTES || encryptedBytes % BLOCK_BYTES !== 0) throw invalid();
    const tail = await collected(
      ciphertext.read({ start: encryptedBytes - MIN_ENCRYPTED_BYTES, end: encryptedBytes }, signal),
    );
    const last = legacyBlockDecipher(aesKey, tail.subarray(0, BLOCK_BYTES))(tail.subarray(BLOCK_BYTES));
    const totalBytes = encryptedBytes - BLOCK_BYTES - paddingBytes(last);
    const digest = createHash('sha256').update(parts.small).update(tail).update(String(encryptedBytes)).digest('hex');
    const expected = this.plaintextOf(parts, found);
    return {
      etag: `W/"legacy-${digest.slice(0, 32)}"`,
      totalBytes,
      read: (range = { start: 0, end: totalBytes }, readSignal) => {
        const plaintext = this.plaintext(ciphertext, range, AbortSignal.any([signal, readSignal]));
        if (expected === undefined || range.start > 0 || range.end < totalBytes) return plaintext;
        return checked(plaintext, expected, () => known.misfitFound(parts.smallSha256, found.state));
      },
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
      decipher ??= legacyBlockDecipher(this.using.aesKey, blocks.subarray(0, BLOCK_BYTES));
      if (body.length === 0) continue;
      const plaintext = decipher(body);
      const piece = plaintext.subarray(Math.max(0, start - at), Math.min(plaintext.length, end - at));
      at += plaintext.length;
      if (piece.length > 0) yield piece;
    }
  }
}

/** What of the older Admin API belongs to a big part that is looked for. */
interface LegacyParts {
  readonly resource: ResourceName;
  readonly small: Uint8Array;
  readonly smallSha256: string;
}

/** The two parts as one run of bytes. */
class Ciphertext {
  readonly totalBytes: number;

  constructor(
    private readonly small: Uint8Array,
    private readonly big: FoundBigPart,
  ) {
    this.totalBytes = small.length + big.sizeBytes;
  }

  /** Exactly the bytes of the range, or an error. */
  async *read({ start, end }: ByteRange, signal: AbortSignal): AsyncGenerator<Uint8Array, void> {
    const border = this.small.length;
    if (start < border) yield this.small.subarray(start, Math.min(end, border));
    if (end > border) yield* readBig(this.big, { start: Math.max(start, border) - border, end: end - border }, signal);
  }
}

/** A source that breaks off is asked again for the rest, as long as it brings something. */
async function* readBig(
  big: FoundBigPart,
  { start, end }: ByteRange,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void> {
  let at = start;
  for (let fruitless = 0; at < end;) {
    const before = at;
    let failure: unknown;
    const stream = await big.open({ start: at, end }, signal);
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

function isSilence(error: unknown): boolean {
  return error instanceof ResourceError && (error.code === 'cdn.unavailable' || error.code === 'api.unreachable');
}

/** Lets the last piece through only when everything together has the hash. */
async function* checked(
  plaintext: AsyncIterable<Buffer>,
  expectedSha256: string,
  misfits: () => void,
): AsyncGenerator<Buffer, void> {
  const hashing = createHash('sha256');
  let held: Buffer | undefined;
  for await (const piece of plaintext) {
    hashing.update(piece);
    if (held !== undefined) yield held;
    held = piece;
  }
  if (hashing.digest('hex') !== expectedSha256) {
    misfits();
    throw invalid();
  }
  if (held !== undefined) yield held;
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

/** One answer for a wrong key, damaged content, bad padding and another hash. */
function invalid(): CryptoError {
  return new CryptoError(
    'legacy.invalid',
    'The content does not decrypt with this key: wrong key, or damaged content.',
  );
}
