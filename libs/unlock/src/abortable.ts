/**
 * Iterates something that may hang: an abort ends the iteration at once with the signal's reason, even while the next value is awaited.
 * The iterator behind is told to stop, but not waited for.
 */
export async function* abortable<T>(values: AsyncIterable<T>, signal: AbortSignal): AsyncGenerator<T, void, undefined> {
  const iterator = values[Symbol.asyncIterator]();
  let ended = false;
  try {
    for (;;) {
      const next = await orAborted(iterator.next(), signal);
      if (next.done === true) {
        ended = true;
        return;
      }
      yield next.value;
    }
  } finally {
    // Its own failure while stopping says nothing new: the run has its reason already.
    if (!ended) iterator.return?.().catch(() => undefined);
  }
}

/** Waits for a promise, but no longer than until the abort, whose reason is thrown then. */
export async function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  let onAbort: (() => void) | undefined;
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => {
      reject(signal.reason as Error);
    };
    signal.addEventListener('abort', onAbort, { once: true });
  });
  try {
    signal.throwIfAborted();
    return await Promise.race([promise, aborted]);
  } finally {
    if (onAbort !== undefined) signal.removeEventListener('abort', onAbort);
    // Whatever loses the race must not end the process.
    promise.catch(() => undefined);
    aborted.catch(() => undefined);
  }
}

/** Lets time pass. @throws the signal's reason when it aborts meanwhile. */
export async function pause(durationMs: number, signal: AbortSignal): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const passed = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, durationMs);
  });
  try {
    await orAborted(passed, signal);
  } finally {
    clearTimeout(timer);
  }
}
