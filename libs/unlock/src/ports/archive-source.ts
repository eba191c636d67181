import type { ByteRange, ResourceName } from '@azaion/kernel';

import type { ExpectedImage } from '../expected-image.js';

/** What reading an archive has moved so far. */
export interface ArchiveTraffic {
  /** Sealed bytes that came over a network. */
  readonly downloadedBytes: number;
  /** Sealed bytes that were on the device already. */
  readonly cachedBytes: number;
}

/** An image archive with its key: it can be read. */
export interface OpenArchive {
  /** Plaintext size. */
  readonly totalBytes: number;
  /**
   * Reads the archive, or a range of it.
   *
   * @param range - Bytes `[start, end)` of the plaintext; everything without it.
   * @returns Plaintext in order, every byte authenticated (sealed) or unverified (legacy); its memory is the reader's. It ends normally only when it is complete.
   *   Stop iterating to stop the work behind it.
   * @throws UnlockError, or the source's own coded errors, while iterating.
   */
  read(signal: AbortSignal, range?: ByteRange): AsyncIterable<Uint8Array>;
  /** What all reads together have moved. */
  traffic(): ArchiveTraffic;
}

/** One version of a sealed archive. */
export interface ArchiveVersion extends ResourceName {
  readonly version: number;
}

/** Which archive it is. Not secret. */
export interface ArchiveName {
  /** Changes whenever the archive does. */
  readonly identity: string;
  /** `null` for a file of the older format, which has none. */
  readonly version: ArchiveVersion | null;
}

/** An image archive that this caller may open. */
export interface FoundArchive extends ArchiveName {
  /** What must be in it, and nothing else. Of a sealed archive: what was signed for, the statement has been verified. Never empty. */
  readonly images: readonly ExpectedImage[];
  /**
   * Gets the key, where that is a step of its own, and opens the archive.
   *
   * @throws UnlockError `unlock.key-not-found` | `unlock.forbidden` | `unlock.archive-invalid`; the source's own coded errors.
   */
  open(signal: AbortSignal): Promise<OpenArchive>;
}

/** Where one caller's image archive comes from (F4). */
export abstract class ArchiveSource {
  /**
   * Looks for the newest archive that the caller may use.
   *
   * @throws UnlockError `unlock.archive-not-found` | `unlock.forbidden` | `unlock.credentials-rejected` are the caller's answer; any other
   *   coded error ends the run.
   */
  abstract find(signal: AbortSignal): Promise<FoundArchive>;
}
