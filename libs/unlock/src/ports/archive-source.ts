import { type ExpectedImage } from '../expected-image.js';

/** An image archive that may be opened. */
export interface FoundArchive {
  /** What must be in it, and nothing else. Of a sealed archive: what was signed for, the statement has been verified. Never empty. */
  readonly images: readonly ExpectedImage[];
  /** Plaintext size; `undefined` when it is known only at the end. */
  readonly totalBytes: number | undefined;
  /**
   * Opens the archive.
   *
   * @returns Plaintext in order, every byte authenticated (sealed) or unverified (legacy). It ends normally only when it is complete.
   *   Stop iterating to stop the work behind it.
   * @throws UnlockError, or the source's own coded errors, while iterating.
   */
  read(signal: AbortSignal): AsyncIterable<Uint8Array>;
}

/** Where one caller's image archive comes from (F4). */
export abstract class ArchiveSource {
  /**
   * Looks for the newest archive that the caller may use, and gets its key.
   *
   * @throws UnlockError `unlock.archive-not-found` | `unlock.forbidden` | `unlock.credentials-rejected` are the caller's answer; any other
   *   coded error ends the run.
   */
  abstract find(signal: AbortSignal): Promise<FoundArchive>;
}
