import { ManualClock, SystemClock } from './clock.js';

describe('ManualClock', () => {
  it('stands still until it is moved', () => {
    const clock = new ManualClock(1000);
    expect([clock.nowMs(), clock.monotonicMs()]).toEqual([1000, 0]);
    clock.advance(50);
    expect([clock.nowMs(), clock.monotonicMs()]).toEqual([1050, 50]);
  });

  it('lets the wall clock jump in both directions without moving durations', () => {
    const clock = new ManualClock(1000);
    clock.advance(10);
    clock.setWall(0);
    expect([clock.nowMs(), clock.monotonicMs()]).toEqual([0, 10]);
    clock.setWall(9_000_000);
    expect([clock.nowMs(), clock.monotonicMs()]).toEqual([9_000_000, 10]);
  });
});

describe('SystemClock', () => {
  it('tells the time of the machine, and durations that never go back', () => {
    const clock = new SystemClock();
    const before = Date.now();
    const first = clock.monotonicMs();
    expect(clock.nowMs()).toBeGreaterThanOrEqual(before);
    expect(clock.monotonicMs()).toBeGreaterThanOrEqual(first);
  });
});
