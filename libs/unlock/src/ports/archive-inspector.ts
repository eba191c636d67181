import { type StatementImage } from '@azaion/crypto';

/** Reads which images an archive holds while it passes by. */
export abstract class ArchiveInspector {
  /**
   * Passes an archive through, and keeps its last bytes back until the whole archive was read and accepted: an engine that
   * got less knows that it has no complete archive.
   *
   * @param archive - Untrusted bytes.
   * @param accept - Gets the images of the archive with digests computed from its bytes; throws to refuse them.
   * @returns The same bytes in the same order.
   * @throws UnlockError `unlock.archive-invalid` | `unlock.archive-truncated`, while iterating; what `accept` throws; what the archive throws.
   */
  abstract passThrough(
    archive: AsyncIterable<Uint8Array>,
    accept: (images: readonly StatementImage[]) => void,
  ): AsyncIterable<Uint8Array>;
}
