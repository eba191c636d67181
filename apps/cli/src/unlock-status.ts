import { UNLOCK_STATES, type UnlockState } from '@azaion/unlock';

import { failure } from './failure-table.js';
import { formatBytes } from './format.js';

/** A Loader's unlock, as it reports it (F5). Source: Loader HTTP contract, "States of an unlock". */
export interface ReportedUnlock {
  readonly state: UnlockState;
  readonly error: string | null;
  readonly progress: ReportedProgress | null;
  /** One text for each image. */
  readonly images: readonly string[];
}

/** How far an unlock is. */
export interface ReportedProgress {
  readonly phase: string;
  readonly bytesDone: number;
  /** 0 while unknown. */
  readonly bytesTotal: number;
}

/** Reads a status body. @throws CliFailure exit `internal` when it is none. */
export function parseUnlockStatus(body: Readonly<Record<string, unknown>>): ReportedUnlock {
  const state = UNLOCK_STATES.find((known) => known === body['state']);
  if (state === undefined)
    throw failure('internal', 'service.unexpected', 'The Loader reported an unlock state that is not known.');
  const { error, images } = body;
  return {
    state,
    error: typeof error === 'string' ? error : null,
    progress: parseProgress(body['progress']),
    images: Array.isArray(images) ? images.map(imageText) : [],
  };
}

/** One line for people. */
export function describeUnlock({ state, error, progress }: ReportedUnlock): string {
  const where =
    progress === null
      ? ''
      : `, ${progress.phase}${progress.bytesTotal > 0 ? ` ${formatBytes(progress.bytesDone)} of ${formatBytes(progress.bytesTotal)}` : ''}`;
  return `${state}${where}${error === null ? '' : `: ${error}`}`;
}

function parseProgress(value: unknown): ReportedProgress | null {
  if (typeof value !== 'object' || value === null) return null;
  const { phase, bytesDone, bytesTotal } = value as Record<string, unknown>;
  return {
    phase: typeof phase === 'string' ? phase : '',
    bytesDone: typeof bytesDone === 'number' ? bytesDone : 0,
    bytesTotal: typeof bytesTotal === 'number' ? bytesTotal : 0,
  };
}

function imageText(image: unknown): string {
  if (typeof image === 'string') return image;
  if (typeof image === 'object' && image !== null && 'reference' in image && typeof image.reference === 'string')
    return image.reference;
  return JSON.stringify(image);
}
