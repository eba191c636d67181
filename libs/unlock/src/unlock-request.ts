import type { ArchiveSource } from './ports/archive-source.js';
import type { UnlockState } from './unlock-state.js';

/** One wish to unlock. */
export interface UnlockRequest {
  /** The archive as this caller may open it. */
  readonly source: ArchiveSource;
  /** Waits for a link that is not there, instead of ending with an error: for a device that starts before its network does. */
  readonly waitForLink?: boolean;
  /** Somebody asks for it: images with which the services were not healthy are tried again. A device by itself does not try them again. */
  readonly byPerson?: boolean;
  /** Makes sure that the caller's session still stands. @throws UnlockError or another coded error. */
  authenticate(signal: AbortSignal): Promise<void>;
}

/** The answer to one wish. */
export interface UnlockStart {
  /** The state after it. */
  readonly state: UnlockState;
  /** Whether it began a run; otherwise a run is at work that somebody else began, or there is nothing to be done. */
  readonly begun: boolean;
}
