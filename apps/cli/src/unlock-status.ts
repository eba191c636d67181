import { UNLOCK_STATES, type UnlockState } from '@azaion/unlock';

import { failure } from './failure-table.js';
import { formatBytes } from './format.js';

/** A Loader's unlock, as it reports it (F5). Source: Loader HTTP contract, "States of an unlock". */
export interface ReportedUnlock {
  readonly state: UnlockState;
  /** Stable code. */
  readonly error: string | null;
  /** The same in a plain sentence. */
  readonly detail: string | null;
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
  const { error, detail, images } = body;
  return {
    state,
    error: typeof error === 'string' ? error : null,
    detail: typeof detail === 'string' ? detail : null,
    progress: parseProgress(body['progress']),
    images: Array.isArray(images) ? images.map(imageText) : [],
  };
}

/** Why an unlock ended: its code and, where the Loader gives one, a sentence. */
export function describeUnlockError({ error, detail }: ReportedUnlock): string {
  return `${error ?? 'no reason given'}${detail === null || detail === '' ? '.' : ` (${detail})`}`;
}

/** One line for people. */
export function describeUnlock({ state, error, detail, progress }: ReportedUnlock): string {
  const where =
    progress === null
      ? ''
      : `, ${progress.phase}${progress.bytesTotal > 0 ? ` ${formatBytes(progress.bytesDone)} of ${formatBytes(progress.bytesTotal)}` : ''}`;
  return `${state}${where}${error === null ? '' : `: ${error}`}${detail === null || detail === '' ? '' : ` (${detail})`}`;
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
