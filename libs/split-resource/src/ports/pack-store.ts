import type { ByteRange } from '@azaion/kernel';

import type { PackId, PackRef } from '../pack.js';

/** Packs that are kept, as far as they are here. */
export interface SparePacks {
  readonly packs: number;
  readonly bytes: number;
}

/**
 * Packs kept on the device, partly or whole: cache, resume state and pre-deployment in one. It holds ciphertext only and
 * verifies nothing; who reads a chunk opens it, and calls {@link discard} when it does not open.
 */
export abstract class PackStore {
  /**
   * Reads bytes that are present.
   *
   * @param range - Bytes `[start, end)`, at most `MAX_RANGE_BYTES`.
   * @returns All bytes of the range, or `undefined` when any of them is missing.
   */
  abstract read(folderId: string, pack: PackRef, range: ByteRange): Promise<Buffer | undefined>;

  /** Which parts of a range are not there, in order, not touching each other; empty when all of it is. */
  abstract missing(folderId: string, pack: PackRef, range: ByteRange): Promise<readonly ByteRange[]>;

  /**
   * Keeps bytes of a pack. After it resolves they survive a `kill -9`; bytes recorded as present are always the ones written.
   *
   * @throws ResourceError `resource.no-space`; the store stays usable.
   */
  abstract write(folderId: string, pack: PackRef, startByte: number, bytes: Uint8Array): Promise<void>;

  /** Forgets a range that turned out to be damaged. */
  abstract discard(folderId: string, pack: PackRef, range: ByteRange): Promise<void>;

  /**
   * Makes room before a fetch by evicting what was used longest ago. A fetch larger than the store's limit goes through it: the end
   * of it takes the place of its beginning.
   *
   * @param bytes - How much the fetch will add.
   * @throws ResourceError `resource.no-space` when not even a part of it, one pack or all of it, fits within the limit, or the disk is full.
   */
  abstract reserve(bytes: number): Promise<void>;

  /** Most bytes that the store could keep now if it gave up all that it holds: within its limit, and the room on its disk. */
  abstract capacityBytes(): Promise<number>;

  /** Bytes in the store and its limit. */
  abstract usage(): Promise<{ readonly bytes: number; readonly limitBytes: number }>;

  /** The packs of which something is here although nobody needs them. */
  abstract spare(isNeeded: (folderId: string, packId: PackId) => boolean): Promise<SparePacks>;
}
