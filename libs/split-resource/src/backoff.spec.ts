import {
  DEFAULT_RETRY,
  longestPauseMs,
  pauseBeforeRetry,
  repeatWhileUnreachable,
  retryAfterMs,
  type RetryPolicy,
  sleep,
} from './backoff.js';
import { ResourceError } from './errors.js';

const AT_ONCE: RetryPolicy = { attempts: 3, baseDelayMs: 0, maxDelayMs: 0 };
const NEVER = new AbortController().signal;
const UNREACHABLE = new ResourceError('api.unreachable', 'The Admin API does not answer.');
const asked = (retryAfterSeconds: string | number | boolean): ResourceError =>
  new ResourceError('pack.unavailable', 'The CDN is busy.', { details: { retryAfterSeconds } });

describe('retryAfterMs', () => {
  it.each([
    [1, 1000],
    [0.5, 500],
    [119, 119_000],
    [120, 120_000],
    [121, 120_000],
    [0, 0],
    [-1, 0],
    ['5', 0],
    [true, 0],
  ])('of %p seconds is %i', (seconds, ms) => {
    expect(retryAfterMs(asked(seconds))).toBe(ms);
  });

  it('is none where nobody asked for it', () => {
    for (const error of [UNREACHABLE, new Error('broken'), { details: { retryAfterSeconds: 5 } }, undefined])
      expect(retryAfterMs(error)).toBe(0);
  });
});

describe('repeatWhileUnreachable', () => {
  /** A call that fails so often before it answers. */
  function failing(times: number, error: Error = UNREACHABLE): { calls: number; readonly make: () => Promise<string> } {
    const state = {
      calls: 0,
      make: (): Promise<string> => {
        state.calls += 1;
        return state.calls <= times ? Promise.reject(error) : Promise.resolve('answer');
      },
    };
    return state;
  }

  it.each([0, 1, 2])('answers after %i failures', async (times) => {
    const call = failing(times);
    await expect(repeatWhileUnreachable(call.make, AT_ONCE, NEVER)).resolves.toBe('answer');
    expect(call.calls).toBe(times + 1);
  });

  it('gives up after the last attempt, with its error', async () => {
    const call = failing(3);
    await expect(repeatWhileUnreachable(call.make, AT_ONCE, NEVER)).rejects.toBe(UNREACHABLE);
    expect(call.calls).toBe(3);
  });

  it.each([new ResourceError('api.forbidden', 'It may not.'), new Error('broken')])(
    'repeats nothing that may not pass: %s',
    async (error) => {
      const call = failing(1, error);
      await expect(repeatWhileUnreachable(call.make, AT_ONCE, NEVER)).rejects.toBe(error);
      expect(call.calls).toBe(1);
    },
  );

  it('makes no call, and waits for none, once it was aborted', async () => {
    const reason = new Error('enough');
    const call = failing(0);
    await expect(repeatWhileUnreachable(call.make, AT_ONCE, AbortSignal.abort(reason))).rejects.toBe(reason);
    expect(call.calls).toBe(0);
    const abort = new AbortController();
    const patient = { attempts: 3, baseDelayMs: 1e9, maxDelayMs: 1e9 };
    const repeated = repeatWhileUnreachable(
      () => {
        setImmediate(() => abort.abort(reason));
        return Promise.reject(UNREACHABLE);
      },
      patient,
      abort.signal,
    );
    await expect(repeated).rejects.toBe(reason);
  });
});

describe('longestPauseMs', () => {
  it('doubles from failure to failure, up to the bound of the policy', () => {
    const pauses = [1, 2, 3, 4, 5, 6, 7, 8, 2000].map((failures) => longestPauseMs(DEFAULT_RETRY, failures));
    expect(pauses).toEqual([250, 500, 1000, 2000, 4000, 8000, 15_000, 15_000, 15_000]);
  });
});

describe('sleep and pauseBeforeRetry', () => {
  const reason = new Error('enough');

  it('end with the reason of an abort, before and meanwhile', async () => {
    await expect(sleep(1e9, AbortSignal.abort(reason))).rejects.toBe(reason);
    const abort = new AbortController();
    const pauses = [sleep(1e9, abort.signal), pauseBeforeRetry(AT_ONCE, 1, 1e9, abort.signal)];
    abort.abort(reason);
    for (const pause of pauses) await expect(pause).rejects.toBe(reason);
  });

  it('end by themselves', async () => {
    await expect(sleep(0, NEVER)).resolves.toBeUndefined();
    await expect(pauseBeforeRetry(AT_ONCE, 7, 0, NEVER)).resolves.toBeUndefined();
  });
});
