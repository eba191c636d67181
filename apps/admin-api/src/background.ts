/** Work that a replica repeats in the background. */
export interface Background {
  /** No further round begins; resolves when the running one is over. */
  stop(): Promise<void>;
}

/**
 * Repeats work in the background: the next round begins `pauseMs` after the end of the one before.
 *
 * @param onFailure - Told what ended a round; the next one begins all the same.
 */
export function repeat(
  work: (stopped: AbortSignal) => Promise<unknown>,
  pauseMs: number,
  onFailure: (error: unknown) => void,
): Background {
  const stopped = new AbortController();
  let running: Promise<void> = Promise.resolve();
  let timer: NodeJS.Timeout;
  const round = async (): Promise<void> => {
    await work(stopped.signal).then(undefined, onFailure);
    if (!stopped.signal.aborted) plan();
  };
  const plan = (): void => {
    timer = setTimeout(() => {
      running = round();
    }, pauseMs).unref();
  };
  plan();
  return {
    stop: async () => {
      stopped.abort();
      clearTimeout(timer);
      await running;
    },
  };
}
