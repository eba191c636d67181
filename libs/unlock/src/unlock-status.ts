import type { ExpectedImage } from './expected-image.js';
import type { ArchiveVersion } from './ports/archive-source.js';
import type { UnlockProgress } from './progress-meter.js';
import type { UnlockState } from './unlock-state.js';

/** An image that the newest archive holds, and whether the engine had it when it was last asked. */
export interface UnlockImage {
  readonly reference: string;
  readonly configDigest: string | null;
  readonly present: boolean;
}

/** What a run that ended well has moved. */
export interface UnlockReport {
  /** Plaintext size of the archive. */
  readonly archiveBytes: number;
  /** Plaintext bytes that the engine was given. */
  readonly loadedBytes: number;
  /** Plaintext bytes of layers that it had already: neither fetched, nor opened, nor loaded. */
  readonly reusedBytes: number;
  /** Sealed bytes that came over a network. */
  readonly downloadedBytes: number;
  /** Sealed bytes that were on the device already. */
  readonly cachedBytes: number;
  readonly durationMs: number;
}

/** What everybody may know of the unlock (F5). */
export interface UnlockStatus {
  readonly state: UnlockState;
  /** Stable code of what ended the last run. */
  readonly error: string | null;
  /** The same in a plain sentence. */
  readonly detail: string | null;
  /** `null` when nothing runs. */
  readonly progress: UnlockProgress | null;
  readonly images: readonly UnlockImage[];
  /** Which version's images the tags in the engine mean; `null` before the first, and for an archive of the older format. */
  readonly loaded: ArchiveVersion | null;
  /** Of the last run of this process that loaded something and ended well. */
  readonly report: UnlockReport | null;
  /** After services could not be started: how often in a row, and before when a device does not try them again by itself. */
  readonly retry: { readonly attempts: number; readonly notBefore: string } | null;
}

/** An image as the status shows it. @param present - Whether the engine has it, as it was signed. */
export function imageStatus(image: ExpectedImage, present: boolean): UnlockImage {
  return { reference: image.reference, configDigest: image.configDigest, present };
}
