import { ResourceError } from './errors.js';

/** How failed attempts are repeated: exponential back-off with full jitter. */
export interface RetryPolicy {
  /** Attempts in all, 1 or more. */
  readonly attempts: number;
  /** Upper bound of the first pause; it doubles from pause to pause. */
  readonly baseDelayMs: number;
  /** Upper bound of every pause. */
  readonly maxDelayMs: number;
}

/** Seven attempts over about half a minute. */
export const DEFAULT_RETRY: RetryPolicy = { attempts: 7, baseDelayMs: 250, maxDelayMs: 15_000 };

/** The longest that the pause after so many failed attempts may be. @param failures - 1 or more. */
export function longestPauseMs({ baseDelayMs, maxDelayMs }: RetryPolicy, failures: number): number {
  return Math.min(maxDelayMs, baseDelayMs * 2 ** (failures - 1));
}

/**
 * Waits before the next attempt.
 *
 * @param failures - Attempts that have failed so far, 1 or more.
 * @param leastMs - What the other side asked for (`Retry-After`), 0 for nothing.
 * @throws The signal's reason as soon as it is aborted.
 */
export async function pauseBeforeRetry(
  policy: RetryPolicy,
  failures: number,
  leastMs: number,
  signal: AbortSignal,
): Promise<void> {
  await sleep(leastMs + Math.random() * longestPauseMs(policy, failures), signal);
}

/** What the other side asked for, bounded. Adapters pass it on as `retryAfterSeconds`. */
export function retryAfterMs(error: unknown): number {
  const seconds = error instanceof ResourceError ? error.details['retryAfterSeconds'] : undefined;
  return typeof seconds === 'number' && seconds > 0 ? Math.min(seconds, 120) * 1000 : 0;
}

/**
 * Makes a call to the Admin API, and makes it again while that is out of reach: a reset connection must not end hours of work.
 *
 * @param call - May be made twice.
 * @throws What the call throws, `api.unreachable` after the last attempt; the signal's reason as soon as it is aborted.
 */
export async function repeatWhileUnreachable<Answer>(
  call: () => Promise<Answer>,
  policy: RetryPolicy,
  signal: AbortSignal,
): Promise<Answer> {
  for (let failures = 1; ; failures++) {
    signal.throwIfAborted();
    try {
      return await call();
    } catch (error) {
      const worthRepeating = error instanceof ResourceError && error.code === 'api.unreachable';
      if (!worthRepeating || failures >= policy.attempts) throw error;
      await pauseBeforeRetry(policy, failures, retryAfterMs(error), signal);
    }
  }
}

/** Waits. @throws The signal's reason as soon as it is aborted. */
export function sleep(durationMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason as Error);
      return;
    }
    const aborted = (): void => {
      clearTimeout(timer);
      reject(signal.reason as Error);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', aborted);
      resolve();
    }, durationMs);
    signal.addEventListener('abort', aborted, { once: true });
  });
}
