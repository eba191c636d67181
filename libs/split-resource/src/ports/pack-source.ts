import type { Readable } from 'node:stream';

import type { ByteRange } from '@azaion/kernel';

import type { PackRef } from '../pack.js';

/** Where one pack lies and how it may be reached right now. */
export interface PackLocation {
  readonly folderId: string;
  readonly pack: PackRef;
  /** A signed URL of the pack's object, short-lived; `undefined` where packs lie on a disk. */
  readonly url: string | undefined;
}

/** Most bytes one ranged read may ask for. */
export const MAX_RANGE_BYTES = 8 * 1024 * 1024;

/** Where packs are read from: the CDN, a directory that was shipped with the device, a neighbour. Nothing it returns has been verified. */
export abstract class PackSource {
  /** Whether reading costs network: then a URL is asked for first, and what was read is kept in the pack store. A disk of this machine says false. */
  readonly remote: boolean = true;

  /**
   * Opens one range of a pack (F2).
   *
   * @param range - Bytes `[start, end)` of the pack, or, where there is a URL, of the object there; not empty, at most {@link MAX_RANGE_BYTES}.
   * @param deadlineMs - Time until the first byte; later stalls are the caller's to watch.
   * @param signal - Ends the waiting early.
   * @returns Exactly the bytes of the range, in order; the stream fails with `pack.unavailable` when it ends early. Unverified: a chunk counts only once it has been opened.
   * @throws ResourceError `pack.not-found` | `pack.truncated` (the store itself says that the object ends before the range does) |
   *   `pack.forbidden` (renew the URL) | `pack.unavailable` (try again later).
   *   The caller destroys the stream, also after an error.
   */
  abstract open(location: PackLocation, range: ByteRange, deadlineMs: number, signal?: AbortSignal): Promise<Readable>;
}
