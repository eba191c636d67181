import { type ExpectedImage } from '../expected-image.js';
import { type UnlockState } from '../unlock-state.js';
import { type EngineImage } from './image-runtime.js';

/** What an archive left in the engine: the proof for images of archives that name no digests. */
export interface LoadedImages {
  /** {@link FoundArchive.identity} of the archive. */
  readonly identity: string;
  readonly images: readonly EngineImage[];
}

/** What survives a restart of the Loader. It holds no secret. */
export interface UnlockRecord {
  readonly state: UnlockState;
  /** Stable code of the error that ended the last run. */
  readonly error: string | null;
  /** The error in a plain sentence. */
  readonly detail: string | null;
  /** What the newest archive seen so far must hold; empty when none has been found yet. */
  readonly images: readonly ExpectedImage[];
  readonly loaded: LoadedImages | null;
  /** The images that the services were healthy with last; they are kept for a way back. */
  readonly lastGood: readonly EngineImage[];
  /** Images were loaded and the services not yet brought up from them. */
  readonly servicesDue: boolean;
}

/** Keeps the one {@link UnlockRecord} of this device. */
export abstract class UnlockRecords {
  /** @returns What was saved last; `undefined` when there is nothing, or nothing readable. */
  abstract load(): Promise<UnlockRecord | undefined>;
  /** Replaces the record as a whole: after a power cut the old or the new one is there. */
  abstract save(record: UnlockRecord): Promise<void>;
}
