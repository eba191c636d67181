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
export function repeat(work: () => Promise<unknown>, pauseMs: number, onFailure: (error: unknown) => void): Background {
  let stopped = false;
  let running: Promise<void> = Promise.resolve();
  let timer: NodeJS.Timeout;
  const round = async (): Promise<void> => {
    await work().then(undefined, onFailure);
    if (!stopped) plan();
  };
  const plan = (): void => {
    timer = setTimeout(() => {
      running = round();
    }, pauseMs).unref();
  };
  plan();
  return {
    stop: async () => {
      stopped = true;
      clearTimeout(timer);
      await running;
    },
  };
}
