import type { StatementImage } from '@azaion/crypto';
import type { ByteRange } from '@azaion/kernel';

/** A layer of an archive. */
export interface ArchivedLayer {
  /** Every chain id (OCI image specification, "Layer ChainID") under which an image of the archive uses it. Never empty. */
  readonly chainIds: readonly string[];
  /** Where its file lies, header and padding included. An archive without these bytes is well-formed still. */
  readonly range: ByteRange;
}

/** Some layers of an archive as an archive of their own. An engine takes it that has the layers of the parts before. */
export interface ArchivePart {
  readonly layers: readonly ArchivedLayer[];
  /** What its bytes are, in order: ranges of the archive, and bytes that only the part has. */
  readonly pieces: readonly (ByteRange | Uint8Array)[];
  /** The images in it. Nothing runs from them: they hold the layers until the archive's own images do. */
  readonly references: readonly string[];
}

/** What an archive holds, read without its layers. */
export interface ArchiveSurvey {
  readonly images: readonly StatementImage[];
  /** Only those that an archive may go without; in order of their place. */
  readonly layers: readonly ArchivedLayer[];
  /**
   * Cuts parts off the front of the archive, so that an engine can work at one while the next is opened. What is left is the archive without
   * their layers.
   *
   * @param known - Chain ids of the layers that the engine has.
   * @param leastBytes - Of each part, and of the layers that are left.
   * @param references - Names for the images of the parts, which are as many as these are enough for.
   * @returns None for archives that are too small, or of another form.
   */
  parts(known: ReadonlySet<string>, leastBytes: number, references: readonly string[]): Promise<readonly ArchivePart[]>;
}

/** Ranges of an archive: plaintext, untrusted. */
export interface RangedArchive {
  readonly totalBytes: number;
  /** Exactly the bytes of the range, at most 1 MiB of them. */
  read(range: ByteRange): Promise<Uint8Array>;
}

/** Reads which images an archive holds. */
export abstract class ArchiveInspector {
  /**
   * Reads only the headers and the small files of an archive, so that it can be refused before anybody gets a byte of it.
   *
   * @returns `undefined` when the archive's form does not allow it: it has to be read as a whole then.
   * @throws UnlockError `unlock.archive-invalid` | `unlock.archive-truncated`; what `read` throws.
   */
  abstract survey(archive: RangedArchive): Promise<ArchiveSurvey | undefined>;

  /**
   * Passes an archive through, and keeps its last bytes back until the whole archive was read and accepted: an engine that
   * got less knows that it has no complete archive.
   *
   * @param archive - Untrusted bytes; layers may have been left out.
   * @param accept - Gets the images of the archive with digests computed from its bytes; throws to refuse them.
   * @returns The same bytes in the same order; what was handed out is not looked at again.
   * @throws UnlockError `unlock.archive-invalid` | `unlock.archive-truncated`, while iterating; what `accept` throws; what the archive throws.
   */
  abstract passThrough(
    archive: AsyncIterable<Uint8Array>,
    accept: (images: readonly StatementImage[]) => void,
  ): AsyncIterable<Uint8Array>;
}
