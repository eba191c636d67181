import { type StatementImage } from '@azaion/crypto';

/** An image archive that may be opened. */
export interface FoundArchive {
  /** What was signed for; the statement has been verified. `undefined` for a legacy archive, which names nothing. */
  readonly images: readonly StatementImage[] | undefined;
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
   * @throws UnlockError `unlock.archive-not-found`; errors of the API that was asked, with their own codes.
   */
  abstract find(signal: AbortSignal): Promise<FoundArchive>;
}
