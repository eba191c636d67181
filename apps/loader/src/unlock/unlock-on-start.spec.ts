import type { UnlockStatus } from '@azaion/unlock';

import { UnlockOnStart } from './unlock-on-start.js';

type Outcome = Pick<UnlockStatus, 'state' | 'error'>;

const { jest } = import.meta;
const FAILED: Outcome = { state: 'error', error: 'api.unreachable' };
const READY: Outcome = { state: 'ready', error: null };

describe('UnlockOnStart', () => {
  let attempts: number;
  let warnings: unknown[];
  let onStart: UnlockOnStart | undefined;
  beforeEach(() => {
    jest.useFakeTimers();
    attempts = 0;
    warnings = [];
  });
  afterEach(() => {
    onStart?.stop();
    jest.useRealTimers();
  });

  /** An unlock whose attempts end in these ways, one after the other; the last one stays. */
  function unlockingWith(outcomes: readonly Outcome[], enabled = true, refusal?: Error): UnlockOnStart {
    const status = (): UnlockStatus => ({
      ...(outcomes[Math.min(attempts, outcomes.length) - 1] ?? READY),
      detail: null,
      progress: null,
      images: [],
      loaded: null,
      report: null,
      retry: null,
    });
    onStart = new UnlockOnStart(
      { settled: () => Promise.resolve(), status },
      () => {
        attempts += 1;
        return refusal === undefined ? Promise.resolve() : Promise.reject(refusal);
      },
      (error) => warnings.push(error),
      enabled,
    );
    return onStart;
  }

  it('does nothing unless it is enabled', async () => {
    await unlockingWith([READY], false).run();
    expect([attempts, jest.getTimerCount()]).toEqual([0, 0]);
  });

  it('tries again until it worked, then never', async () => {
    await unlockingWith([FAILED, FAILED, READY]).run();
    expect(attempts).toBe(1);
    await jest.advanceTimersByTimeAsync(5_000);
    expect(attempts).toBe(2);
    await jest.advanceTimersByTimeAsync(10_000);
    expect(attempts).toBe(3);
    expect(jest.getTimerCount()).toBe(0);
  });

  it('waits longer each time, at most five minutes', async () => {
    await unlockingWith([FAILED]).run();
    await jest.advanceTimersByTimeAsync(60 * 60_000);
    const afterAnHour = attempts;
    expect(afterAnHour).toBeLessThan(40);
    await jest.advanceTimersByTimeAsync(5 * 60_000);
    expect(attempts).toBeGreaterThan(afterAnHour);
  });

  it('goes on after a refusal, and says so', async () => {
    const refusal = new Error('no archive yet');
    await unlockingWith([{ state: 'idle', error: null }], true, refusal).run();
    await jest.advanceTimersByTimeAsync(5_000);
    expect([attempts, warnings]).toEqual([2, [refusal, refusal]]);
  });

  it.each<Outcome>([
    READY,
    { state: 'error', error: 'unlock.cancelled' },
    { state: 'error', error: 'unlock.services-unhealthy' },
  ])('goes on after a refusal although an earlier process ended in %j', async (before) => {
    await unlockingWith([before], true, new Error('no archive yet')).run();
    await jest.advanceTimersByTimeAsync(5_000);
    expect(attempts).toBe(2);
  });

  it.each(['unlock.cancelled', 'unlock.services-unhealthy'])(
    'does not take up again what ended in %s',
    async (error) => {
      await unlockingWith([{ state: 'error', error }]).run();
      expect(jest.getTimerCount()).toBe(0);
    },
  );

  it('ends with the Loader', async () => {
    const unlocking = unlockingWith([FAILED]);
    await unlocking.run();
    unlocking.stop();
    await jest.advanceTimersByTimeAsync(60 * 60_000);
    expect(attempts).toBe(1);
    await unlocking.run();
    expect(jest.getTimerCount()).toBe(0);
  });
});
