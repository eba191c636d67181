import { once } from 'node:events';
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';

import { ResourceError } from '@azaion/split-resource';

import {
  type CiphertextFile,
  type DecipherAnswer,
  type DecipherJob,
  DONE_SLICES,
  SLICE_BYTES,
  STOPPED,
} from './decipher-messages.js';

const ENTRY = new URL('./decipher-worker.js', import.meta.url);
/** More only wait for the file that all write into. */
const MAX_THREADS = 4;
/** How often progress is told. */
const PROGRESS_MS = 100;
/** Threads make few objects: the default of 16 MiB and more only defers collections. */
const YOUNG_GENERATION_MIB = 4;

/** Files of the older format, and where their plaintext goes. */
export interface LegacyFilesToDecipher {
  /** 32 bytes. */
  readonly aesKey: Uint8Array;
  /** In order; together `IV ‖ C`. Opened by the caller, who closes them. */
  readonly files: readonly CiphertextFile[];
  /** A file open for writing, empty. Nobody writes into it any more when the call settles. */
  readonly descriptor: number;
  /** Plaintext bytes, as the padding said. */
  readonly totalBytes: number;
  /** Number of threads. Default: one for each core, four at most. */
  readonly threads?: number;
  /** The compiled entry of a thread. Default: the one beside this file. */
  readonly entry?: URL;
}

/**
 * Decrypts files of the older format on threads that read, decrypt and write slices side by side. Nothing is checked: what comes out is
 * **not authenticated**, and the padding was the caller's to look at.
 *
 * @param onBytes - Told now and then how much is in the file, and all of it at the end.
 * @throws ResourceError `cdn.unavailable` when the files are shorter than their sizes; Error of the system with its code, such as `ENOSPC`; the signal's reason.
 */
export async function decipherLegacyFiles(
  { aesKey, files, descriptor, totalBytes, threads = availableParallelism(), entry = ENTRY }: LegacyFilesToDecipher,
  onBytes: (writtenBytes: number) => void,
  signal: AbortSignal,
): Promise<void> {
  signal.throwIfAborted();
  const counters = new Int32Array(new SharedArrayBuffer(3 * Int32Array.BYTES_PER_ELEMENT));
  const job: DecipherJob = { aesKey, files, descriptor, totalBytes, counters };
  const sliceCount = Math.ceil(totalBytes / SLICE_BYTES);
  const workers = Array.from({ length: Math.min(threads, MAX_THREADS, sliceCount) }, () => startWorker(job, entry));
  const stop = (): void => void Atomics.store(counters, STOPPED, 1);
  signal.addEventListener('abort', stop, { once: true });
  const telling = setInterval(
    () => onBytes(Math.min(totalBytes, Atomics.load(counters, DONE_SLICES) * SLICE_BYTES)),
    PROGRESS_MS,
  );
  try {
    const outcomes = await Promise.allSettled(workers); // nobody writes into a file that was closed
    signal.throwIfAborted();
    for (const settled of outcomes) {
      if (settled.status === 'rejected') throw settled.reason;
      throwFailure(settled.value);
    }
    onBytes(totalBytes);
  } finally {
    clearInterval(telling);
    signal.removeEventListener('abort', stop);
  }
}

async function startWorker(job: DecipherJob, entry: URL): Promise<DecipherAnswer> {
  const worker = new Worker(entry, {
    workerData: job,
    resourceLimits: { maxYoungGenerationSizeMb: YOUNG_GENERATION_MIB },
  });
  const ended = once(worker, 'exit');
  let answer: DecipherAnswer | undefined;
  worker.once('message', (told: DecipherAnswer) => (answer = told));
  try {
    await ended; // rejects with what the thread could not catch
  } catch (error) {
    Atomics.store(job.counters, STOPPED, 1); // the others need not go on
    throw error;
  }
  if (answer === undefined) throw new Error('A worker thread ended.');
  return answer;
}

function throwFailure(answer: DecipherAnswer): void {
  if (answer.outcome === 'missing')
    throw new ResourceError('cdn.unavailable', 'A file became shorter while it was read.');
  if (answer.outcome === 'failed')
    throw answer.systemCode === undefined
      ? new Error(answer.message)
      : Object.assign(new Error(answer.message), { code: answer.systemCode });
}
