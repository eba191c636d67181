import { ManualClock } from '@azaion/kernel';
import fc from 'fast-check';

import { InMemoryTimeMarkStore } from '../testing/in-memory-lease-store.js';
import { MARK_INTERVAL_MS, TrustedTime } from './trusted-time.js';

const SIGNED = 1_800_000_000;
const DAY_MS = 86_400_000;

let clock: ManualClock;
let marks: InMemoryTimeMarkStore;

beforeEach(() => {
  clock = new ManualClock(SIGNED * 1000);
  marks = new InMemoryTimeMarkStore();
});

describe('TrustedTime', () => {
  it("is the machine's clock while the Admin API has signed nothing", async () => {
    const time = await TrustedTime.open(marks, clock);
    expect([time.nowMs(), time.effectiveMs(), time.signedMs()]).toEqual([SIGNED * 1000, SIGNED * 1000, 0]);
  });

  it('never goes before a signed time, however far back the clock is set', async () => {
    const time = await TrustedTime.open(marks, clock);
    time.observe(SIGNED);
    clock.setWall(0);
    expect(time.effectiveMs()).toBe(SIGNED * 1000);
    clock.advance(DAY_MS);
    expect(time.effectiveMs()).toBe(SIGNED * 1000 + DAY_MS);
  });

  it('follows a clock that jumps ahead only while it is ahead', async () => {
    const time = await TrustedTime.open(marks, clock);
    time.observe(SIGNED);
    clock.setWall(SIGNED * 1000 + 400 * DAY_MS);
    expect(time.effectiveMs()).toBe(SIGNED * 1000 + 400 * DAY_MS);
    clock.setWall(SIGNED * 1000);
    expect(time.effectiveMs()).toBe(SIGNED * 1000);
  });

  it('judges what comes from the Admin API by the time it signs, with the clock wrong in either direction', async () => {
    const time = await TrustedTime.open(marks, clock);
    for (const wrong of [-400, 400]) {
      clock.setWall(SIGNED * 1000 + wrong * DAY_MS);
      time.observe(SIGNED);
      clock.advance(1000);
      expect(time.nowMs()).toBe(SIGNED * 1000 + 1000);
    }
  });

  it('counts running time across restarts, and each start as what a power cut may have lost', async () => {
    let time = await TrustedTime.open(marks, clock);
    time.observe(SIGNED);
    await time.keep(); // just written: nothing to do yet
    expect(marks.mark).toBeUndefined();
    clock.advance(MARK_INTERVAL_MS);
    await time.keep();
    clock.advance(MARK_INTERVAL_MS - 1);
    await time.keep(); // lost with the power
    clock.setWall(0);
    for (let starts = 1; starts <= 3; starts += 1) {
      time = await TrustedTime.open(marks, clock);
      expect(time.effectiveMs()).toBe(SIGNED * 1000 + (1 + starts) * MARK_INTERVAL_MS);
    }
  });

  it('keeps its mark when an older time is signed later, and judges by that time until the next restart', async () => {
    const time = await TrustedTime.open(marks, clock);
    time.observe(SIGNED + 3600);
    time.observe(SIGNED);
    expect(time.nowMs()).toBe(SIGNED * 1000);
    expect(time.signedMs()).toBe((SIGNED + 3600) * 1000);
  });

  it('is raised by what was signed some time ago, and never takes that for now', async () => {
    const time = await TrustedTime.open(marks, clock);
    clock.setWall((SIGNED + 3600) * 1000);
    time.raise(SIGNED);
    expect([time.nowMs(), time.signedMs()]).toEqual([(SIGNED + 3600) * 1000, SIGNED * 1000]);
    time.observe(SIGNED + 3600);
    clock.setWall(0);
    time.raise(SIGNED + 60);
    expect([time.nowMs(), time.signedMs()]).toEqual([(SIGNED + 3600) * 1000, (SIGNED + 3600) * 1000]);
    time.raise(SIGNED + 7200);
    expect(time.effectiveMs()).toBe((SIGNED + 7200) * 1000);
  });

  it.each([0, -1, NaN, Infinity, 253_402_300_800])('ignores %d, which is no time', async (seconds) => {
    const time = await TrustedTime.open(marks, clock);
    time.observe(seconds);
    expect(time.signedMs()).toBe(0);
    expect(time.nowMs()).toBe(clock.nowMs());
  });

  it('never lets the certain time go back, whatever clock, signatures and restarts do', async () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('run' as const), by: fc.integer({ min: 0, max: DAY_MS }) }),
      fc.record({ kind: fc.constant('wall' as const), by: fc.integer({ min: 0, max: 2 * SIGNED * 1000 }) }),
      fc.record({ kind: fc.constant('signed' as const), by: fc.integer({ min: 1, max: 2 * SIGNED }) }),
      fc.record({ kind: fc.constant('restart' as const), by: fc.constant(0) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
        const store = new InMemoryTimeMarkStore();
        const wall = new ManualClock(SIGNED * 1000);
        let time = await TrustedTime.open(store, wall);
        let before = 0;
        for (const { kind, by } of steps) {
          if (kind === 'run') wall.advance(by);
          else if (kind === 'wall') wall.setWall(by);
          else if (kind === 'signed') time.observe(by);
          else {
            await time.write();
            time = await TrustedTime.open(store, wall);
          }
          expect(time.signedMs()).toBeGreaterThanOrEqual(before);
          expect(time.effectiveMs()).toBeGreaterThanOrEqual(wall.nowMs());
          before = time.signedMs();
        }
      }),
      { numRuns: 50 },
    );
  });
});
