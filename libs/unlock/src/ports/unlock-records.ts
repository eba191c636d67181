import { type ExpectedImage } from '../expected-image.js';
import { type UnlockState } from '../unlock-state.js';

/** What survives a restart of the Loader. It holds no secret. */
export interface UnlockRecord {
  readonly state: UnlockState;
  /** Stable code of the error that ended the last run. */
  readonly error: string | null;
  /** The error in a plain sentence. */
  readonly detail: string | null;
  /** What the newest archive seen so far must hold; empty when none has been found yet. */
  readonly images: readonly ExpectedImage[];
}

/** Keeps the one {@link UnlockRecord} of this device. */
export abstract class UnlockRecords {
  /** @returns What was saved last; `undefined` when there is nothing, or nothing readable. */
  abstract load(): Promise<UnlockRecord | undefined>;
  /** Replaces the record as a whole: after a power cut the old or the new one is there. */
  abstract save(record: UnlockRecord): Promise<void>;
}
