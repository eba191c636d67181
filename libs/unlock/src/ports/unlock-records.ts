import type { ExpectedImage } from '../expected-image.js';
import type { UnlockState } from '../unlock-state.js';
import type { ArchiveName } from './archive-source.js';
import type { EngineImage } from './image-runtime.js';

/** What an archive left in the engine: the proof for images of archives that name no digests. */
export interface LoadedImages extends ArchiveName {
  readonly images: readonly EngineImage[];
}

/** Services that could not be started, again and again: when the device tries the next time. */
export interface ServiceRetry {
  /** {@link ArchiveName.identity} of the archive with whose images it was. */
  readonly identity: string;
  /** How often in a row. */
  readonly attempts: number;
  /** Not before: wall clock, milliseconds since 1970. */
  readonly atMs: number;
}

/** What survives a restart of the Loader. It holds no secret. */
export interface UnlockRecord {
  readonly state: UnlockState;
  /** Stable code of the error that ended the last run. */
  readonly error: string | null;
  /** The error in a plain sentence. */
  readonly detail: string | null;
  /** The newest archive seen so far; `null` when none has been found yet. */
  readonly archive: ArchiveName | null;
  /** What it must hold. */
  readonly images: readonly ExpectedImage[];
  /** What the tags in the engine mean. */
  readonly loaded: LoadedImages | null;
  /** What the services were healthy with last; its images are kept for a way back. */
  readonly lastGood: LoadedImages | null;
  /** Services were being replaced: they may run from other images than the last good ones, or not at all. */
  readonly servicesDue: boolean;
  /** The way back to the last good images has begun and did not end. */
  readonly rollbackDue: boolean;
  /** {@link ArchiveName.identity} of the archive with whose images the services were not healthy. */
  readonly refused: string | null;
  /** `null` where the services could be started, or nobody tried. */
  readonly retry: ServiceRetry | null;
}

/** Keeps the one {@link UnlockRecord} of this device. */
export abstract class UnlockRecords {
  /** @returns What was saved last; `undefined` when there is nothing, or nothing readable. */
  abstract load(): Promise<UnlockRecord | undefined>;
  /** Replaces the record as a whole: after a power cut the old or the new one is there. */
  abstract save(record: UnlockRecord): Promise<void>;
}

/** What a device that never unlocked anything has recorded. */
export const NOTHING_RECORDED: UnlockRecord = {
  state: 'idle',
  error: null,
  detail: null,
  archive: null,
  images: [],
  loaded: null,
  lastGood: null,
  servicesDue: false,
  rollbackDue: false,
  refused: null,
  retry: null,
};
