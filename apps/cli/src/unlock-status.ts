import { UNLOCK_STATES, type UnlockState } from '@azaion/unlock';

import { failure } from './failure-table.js';
import { counted, formatBytes, formatSeconds } from './format.js';

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
  readonly report: ReportedLoad | null;
  readonly retry: ReportedRetry | null;
}

/** After services could not be started. */
export interface ReportedRetry {
  /** How often in a row. */
  readonly attempts: number;
  /** RFC 3339; before this the device does not try again by itself. */
  readonly notBefore: string;
}

/** What the last run moved. */
export interface ReportedLoad {
  readonly archiveBytes: number;
  readonly loadedBytes: number;
  readonly reusedBytes: number;
  readonly downloadedBytes: number;
  readonly durationMs: number;
}

/** How far an unlock is. */
export interface ReportedProgress {
  readonly phase: string;
  readonly bytesDone: number;
  /** 0 while unknown. */
  readonly bytesTotal: number;
  /** `null` when nothing moves or the total is not known. */
  readonly etaSeconds: number | null;
  readonly stalledSeconds: number;
}

/** Reads a status body. @throws CliFailure exit `internal` when it is none. */
export function parseUnlockStatus(body: Readonly<Record<string, unknown>>): ReportedUnlock {
  const state = UNLOCK_STATES.find((known) => known === body['state']);
  if (state === undefined)
    throw failure('service.unexpected', 'The Loader reported an unlock state that is not known.');
  const { error, detail, images } = body;
  return {
    state,
    error: typeof error === 'string' ? error : null,
    detail: typeof detail === 'string' ? detail : null,
    progress: parseProgress(body['progress']),
    images: Array.isArray(images) ? images.map(imageText) : [],
    report: parseReport(body['report']),
    retry: parseRetry(body['retry']),
  };
}

/** What a run is busy with or waiting for, in words. */
export function describePhase({ phase, stalledSeconds }: ReportedProgress): string {
  const words = PHASES[phase] ?? phase;
  return stalledSeconds === 0 ? words : `${words}; nothing has moved for ${formatSeconds(stalledSeconds)}`;
}

/** What a run has moved and what it was spared, in a sentence. */
export function describeReport(report: ReportedLoad): string {
  const { archiveBytes, loadedBytes, reusedBytes, downloadedBytes, durationMs } = report;
  const spared =
    reusedBytes === 0
      ? ''
      : ` of ${formatBytes(archiveBytes)}; the engine had the other layers, ${formatBytes(reusedBytes)}, already`;
  return `Loaded ${formatBytes(loadedBytes)}${spared}. ${formatBytes(downloadedBytes)} came over the network, in ${formatSeconds(durationMs / 1000)}.`;
}

const PHASES: Readonly<Record<string, string>> = {
  waiting_for_link: 'waits for the network: the Admin API cannot be reached',
  inspecting: 'looks what the archive holds',
  waiting_for_flight_gate: 'waits: the device is in the air',
  starting_services: 'starts the services and waits for their health checks',
  rolling_back: 'the services are not healthy: brings the previous images back',
};

/** Why an unlock ended: its code and, where the Loader gives one, a sentence. */
export function describeUnlockError({ error, detail }: ReportedUnlock): string {
  return `${error ?? 'no reason given'}${detail === null || detail === '' ? '.' : ` (${detail})`}`;
}

/** When the device tries by itself to start the services again, in a sentence. */
export function describeRetry({ attempts, notBefore }: ReportedRetry): string {
  return `Tried ${counted(attempts, 'time')}; the device tries again by itself after ${notBefore}. "azaion unlock" tries at once.`;
}

/** One line for people. */
export function describeUnlock({ state, error, detail, progress }: ReportedUnlock): string {
  const where =
    progress === null
      ? ''
      : `, ${describePhase(progress)}${progress.bytesTotal > 0 ? ` ${formatBytes(progress.bytesDone)} of ${formatBytes(progress.bytesTotal)}` : ''}`;
  return `${state}${where}${error === null ? '' : `: ${error}`}${detail === null || detail === '' ? '' : ` (${detail})`}`;
}

function parseProgress(value: unknown): ReportedProgress | null {
  if (typeof value !== 'object' || value === null) return null;
  const { phase, etaSeconds, ...numbers } = value as Record<string, unknown>;
  return {
    phase: typeof phase === 'string' ? phase : '',
    bytesDone: numberOf(numbers['bytesDone']),
    bytesTotal: numberOf(numbers['bytesTotal']),
    etaSeconds: typeof etaSeconds === 'number' ? etaSeconds : null,
    stalledSeconds: numberOf(numbers['stalledSeconds']),
  };
}

function parseReport(value: unknown): ReportedLoad | null {
  if (typeof value !== 'object' || value === null) return null;
  const numbers = value as Record<string, unknown>;
  return {
    archiveBytes: numberOf(numbers['archiveBytes']),
    loadedBytes: numberOf(numbers['loadedBytes']),
    reusedBytes: numberOf(numbers['reusedBytes']),
    downloadedBytes: numberOf(numbers['downloadedBytes']),
    durationMs: numberOf(numbers['durationMs']),
  };
}

function parseRetry(value: unknown): ReportedRetry | null {
  if (typeof value !== 'object' || value === null) return null;
  const { attempts, notBefore } = value as Record<string, unknown>;
  return typeof notBefore === 'string' ? { attempts: numberOf(attempts), notBefore } : null;
}

function numberOf(value: unknown): number {
  return typeof value === 'number' ? value : 0;
}

function imageText(image: unknown): string {
  if (typeof image === 'string') return image;
  if (typeof image === 'object' && image !== null && 'reference' in image && typeof image.reference === 'string')
    return image.reference;
  return JSON.stringify(image);
}
