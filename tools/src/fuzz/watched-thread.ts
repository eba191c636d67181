import type { Worker } from 'node:worker_threads';

import type { CaseLog } from './case-log.js';

/** How a thread with cases ended. */
export type Ending<T> =
  | { readonly kind: 'done'; readonly message: T }
  /** No new case began for too long: the reader never gives back the thread, or never answers. */
  | { readonly kind: 'hangs'; readonly bytes: Buffer }
  | { readonly kind: 'died'; readonly bytes: Buffer; readonly error: Error };

const LOOK_MS = 250;

/**
 * Waits for a thread's message, and looks meanwhile whether it gets on: also one in an endless loop, which no timer of its own would end. The
 * thread is over afterwards.
 *
 * @param log - What the thread writes its cases into.
 * @param hangsMs - How long one case may take.
 */
export async function watchThread<T>(worker: Worker, log: CaseLog, hangsMs: number): Promise<Ending<T>> {
  let looking: NodeJS.Timeout | undefined;
  try {
    return await new Promise<Ending<T>>((resolve) => {
      let count = -1;
      let since = performance.now();
      looking = setInterval(() => {
        // Before its first case it starts, which takes long on a machine with much to do.
        if (log.count === 0 || log.count !== count) [count, since] = [log.count, performance.now()];
        else if (performance.now() - since >= hangsMs) resolve({ kind: 'hangs', bytes: log.current });
      }, LOOK_MS);
      worker.once('message', (message: T) => resolve({ kind: 'done', message }));
      worker.once('error', (error: Error) => resolve({ kind: 'died', bytes: log.current, error }));
      worker.once('exit', (status) =>
        resolve({ kind: 'died', bytes: log.current, error: new Error(`the thread ended with ${status}`) }),
      );
    });
  } finally {
    clearInterval(looking);
    await worker.terminate();
  }
}
