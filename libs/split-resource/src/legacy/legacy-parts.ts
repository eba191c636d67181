import type { Readable } from 'node:stream';

import type { ByteRange, ResourceName } from '@azaion/kernel';

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
  /**
   * Looks a big part up, without reading it.
   *
   * @returns `undefined` when there is none.
   * @throws ResourceError `cdn.missing` (it is of no use as it stands, or may not be read) | `cdn.unavailable`.
   */
  abstract find(resource: ResourceName, signal: AbortSignal): Promise<FoundBigPart | undefined>;
}

/** A big part in the state in which it was found. What was replaced meanwhile is not read: two states in one answer would be garbage. */
export interface FoundBigPart {
  readonly sizeBytes: number;
  /** Changes whenever the part does, as far as its place tells; at most 300 characters. */
  readonly state: string;
  /** SHA-256 of the small part that was written with it, 64 lower-case hexadecimal digits; `undefined` where its writer left no word. */
  readonly smallSha256?: string | undefined;
  /** SHA-256 of the plaintext, 64 lower-case hexadecimal digits; `undefined` where nobody left it there. */
  readonly plaintextSha256?: string | undefined;

  /**
   * Opens a range.
   *
   * @param range - Bytes `[start, end)`, not empty, within its size.
   * @returns At most the bytes of the range, in order; it may end early or fail. The caller destroys it.
   * @throws ResourceError `cdn.missing` | `cdn.unavailable` (also when it was replaced since it was found).
   */
  open(range: ByteRange, signal: AbortSignal): Promise<Readable>;
}

/** Where big parts are written to. */
export abstract class LegacyBigSink {
  /**
   * Writes a big part over any earlier one; nothing of it is visible before all of it is.
   *
   * @param content - Read once, under backpressure. What it throws ends the write and comes out again.
   * @param smallSha256 - Hexadecimal; kept beside the part, so that readers see which small part it belongs to.
   * @throws ResourceError `cdn.unavailable` | `api.forbidden` (this caller may not write).
   */
  abstract put(
    resource: ResourceName,
    content: AsyncIterable<Uint8Array>,
    smallSha256: string,
    signal: AbortSignal,
  ): Promise<void>;
}
