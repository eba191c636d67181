import { DomainError, ManualClock } from '@azaion/kernel';

import { type HealthCheck, HealthChecks } from './health-checks.js';

const INTERVAL_MS = 5_000;

/** A dependency that a test switches. */
class Dependency implements HealthCheck {
  readonly timeoutMs = 1_000;
  calls = 0;
  failure: unknown;

  constructor(readonly name: string) {}

  check(): Promise<void> {
    this.calls += 1;
    // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors -- a check may throw anything
    return this.failure === undefined ? Promise.resolve() : Promise.reject(this.failure);
  }
}

describe('HealthChecks', () => {
  let clock: ManualClock;
  let dependency: Dependency;
  let checks: HealthChecks;

  beforeEach(() => {
    clock = new ManualClock(0);
    dependency = new Dependency('database');
    checks = new HealthChecks([dependency], clock, INTERVAL_MS);
  });

  it('is down until the first round has been run', async () => {
    expect(checks.states()).toEqual([{ name: 'database', up: false, reason: 'not checked yet' }]);
    await checks.round();
    expect(checks.states()).toEqual([{ name: 'database', up: true, reason: undefined }]);
  });

  it('asks nothing of the dependency when it is asked itself', async () => {
    await checks.round();
    for (let probe = 0; probe < 100; probe += 1) checks.states();
    expect(dependency.calls).toBe(1);
  });

  it('keeps an outcome until the next round', async () => {
    await checks.round();
    dependency.failure = new Error('down');
    expect(checks.allUp()).toBe(true);
    await checks.round();
    expect(checks.allUp()).toBe(false);
    dependency.failure = undefined;
    await checks.round();
    expect(checks.allUp()).toBe(true);
  });

  it('shows the text of a domain error and of no other', async () => {
    dependency.failure = new DomainError('cdn.unavailable', 'The store does not answer.');
    await checks.round();
    expect(checks.states()[0]?.reason).toBe('The store does not answer.');
    for (const failure of [new Error('password=geheim'), 'geheim', 7]) {
      dependency.failure = failure;
      await checks.round();
      expect(checks.states()[0]?.reason).toBe('the check failed');
    }
  });

  it('does not trust an outcome of more than three rounds ago', async () => {
    await checks.round();
    clock.advance(3 * INTERVAL_MS + dependency.timeoutMs);
    expect(checks.allUp()).toBe(true);
    clock.advance(1);
    expect(checks.states()[0]?.reason).toBe('not checked for too long');
  });

  it('does not start a check again that still runs, runs the others, and takes it for down in the end', async () => {
    let release: () => void = () => undefined;
    let aborted = false;
    let calls = 0;
    const stuck: HealthCheck = {
      name: 'stuck',
      timeoutMs: 1,
      check: (signal) => {
        calls += 1;
        signal.addEventListener('abort', () => (aborted = true));
        return new Promise((resolve) => (release = resolve));
      },
    };
    const both = new HealthChecks([stuck, dependency], clock, INTERVAL_MS);
    await both.round();
    await both.round();
    expect([calls, dependency.calls, aborted]).toEqual([1, 2, true]);
    expect(both.states()).toEqual([
      { name: 'stuck', up: false, reason: 'no answer in time' },
      { name: 'database', up: true, reason: undefined },
    ]);
    release();
    await new Promise(setImmediate);
    await both.round();
    expect(calls).toBe(2);
    release();
  });

  it('catches a check that throws at once', async () => {
    const rude: HealthCheck = {
      name: 'rude',
      check: () => {
        throw new Error('at once');
      },
    };
    const one = new HealthChecks([rude], clock, INTERVAL_MS);
    await one.round();
    expect(one.states()[0]?.reason).toBe('the check failed');
  });
});
