import { type Readable } from 'node:stream';

import { type ByteRange, type ResourceName } from '@azaion/kernel';

/** The older Admin API as one caller sees it: where small parts lie. Source: docs/formats/legacy.md. */
export abstract class LegacySmallParts {
  /**
   * Reads a small part, opened with the caller's own key.
   *
   * @returns The first bytes of the resource's ciphertext, at least one. Nothing about them is authenticated.
   * @throws ResourceError `resource.not-found` | `api.*`; CryptoError `legacy.invalid`.
   */
  abstract read(resource: ResourceName, signal: AbortSignal): Promise<Uint8Array>;

  /** Writes a small part over any earlier one. @throws ResourceError `api.*`. */
  abstract write(resource: ResourceName, small: Uint8Array, signal: AbortSignal): Promise<void>;
}

/** Where big parts are read from: a directory of the device, the CDN. Nothing it returns is authenticated. */
export abstract class LegacyBigParts {
  /** Length of a big part in bytes; `undefined` when there is none. @throws ResourceError `cdn.unavailable`. */
  abstract size(resource: ResourceName, signal: AbortSignal): Promise<number | undefined>;

  /**
   * Opens a range of a big part.
   *
   * @param range - Bytes `[start, end)`, not empty, within its size.
   * @returns At most the bytes of the range, in order; it may end early or fail. The caller destroys it.
   * @throws ResourceError `cdn.missing` | `cdn.unavailable`.
   */
  abstract open(resource: ResourceName, range: ByteRange, signal: AbortSignal): Promise<Readable>;
}

/** Where big parts are written to. */
export abstract class LegacyBigSink {
  /**
   * Writes a big part over any earlier one; nothing of it is visible before all of it is.
   *
   * @param content - Read once, under backpressure. What it throws ends the write and comes out again.
   * @throws ResourceError `cdn.unavailable` | `api.forbidden` (this caller may not write).
   */
  abstract put(resource: ResourceName, content: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<void>;
}
