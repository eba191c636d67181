import { ManualClock } from '@azaion/kernel';
import fc from 'fast-check';

import { ResourceError } from '../errors.js';
import { ManualRunningClock } from '../testing/manual-running-clock.js';
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
    await time.keep(); // the first one at once
    clock.advance(MARK_INTERVAL_MS - 1);
    await time.keep(); // just written: nothing to do yet
    expect(marks.mark).toEqual({ signedSeconds: SIGNED, runningMs: 0 });
    clock.advance(1);
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

  it('is brought back by an answer to a nonce when it ran far ahead, and by nothing else', async () => {
    const time = await TrustedTime.open(marks, clock);
    time.observe(SIGNED + 400 * 86_400);
    time.observe(SIGNED);
    expect(time.signedMs()).toBe((SIGNED + 400 * 86_400) * 1000);
    time.confirm(SIGNED);
    expect([time.nowMs(), time.signedMs()]).toEqual([SIGNED * 1000, SIGNED * 1000]);
    time.confirm(SIGNED - 60); // replicas need not agree to the second
    expect(time.signedMs()).toBe(SIGNED * 1000);
    time.confirm(SIGNED - 61);
    expect(time.signedMs()).toBe((SIGNED - 61) * 1000);
  });

  describe('with a clock that runs on while the process does not', () => {
    let running: ManualRunningClock;
    const open = (expectsMark = true): Promise<TrustedTime> =>
      TrustedTime.open(marks, clock, { running, expectsMark, uptimeMs: () => clock.monotonicMs() });
    /** Time passes with this process at work or not. */
    const pass = (ms: number): void => {
      clock.advance(ms);
      running.elapsedMs += ms;
    };
    beforeEach(() => {
      running = new ManualRunningClock();
    });
    const signed = async (): Promise<void> => {
      const time = await open(false);
      time.observe(SIGNED);
      await time.write();
    };

    it('counts exactly what has passed, however often and fast it is started', async () => {
      await signed();
      for (let start = 1; start <= 1000; start += 1) {
        pass(1000);
        clock.setWall(0);
        expect((await open()).effectiveMs()).toBe(SIGNED * 1000 + start * 1000);
      }
    });

    it('has aged when an old mark is put back', async () => {
      await signed();
      const old = marks.mark;
      pass(7 * DAY_MS);
      await (await open()).write();
      marks.mark = old;
      clock.setWall(0);
      expect((await open()).effectiveMs()).toBe(SIGNED * 1000 + 7 * DAY_MS);
    });

    it('adds what a power cut may have lost when the clock may have gone back, and never goes back with it', async () => {
      await signed();
      const before = running.elapsedMs;
      for (const [elapsedMs, countedMs] of [
        [before - 3_600_000, MARK_INTERVAL_MS],
        [before - 3_600_000 + 1, 2 * MARK_INTERVAL_MS],
        [before + DAY_MS, 2 * MARK_INTERVAL_MS + 3_600_000 + DAY_MS - 1],
      ] as const) {
        Object.assign(running, { elapsedMs, isExact: false });
        clock.setWall(0);
        expect((await open()).effectiveMs()).toBe(SIGNED * 1000 + countedMs);
      }
    });

    it('counts a start as an interval after its era has ended', async () => {
      await signed();
      Object.assign(running, { era: 'another boot', elapsedMs: 400 * DAY_MS });
      clock.setWall(0);
      expect((await open()).effectiveMs()).toBe(SIGNED * 1000 + MARK_INTERVAL_MS);
    });

    it('does not believe a mark without a reading where the era never ends', async () => {
      const time = await TrustedTime.open(marks, clock);
      time.observe(SIGNED);
      await time.write();
      running.isLasting = true;
      expect((await open()).isCertain).toBe(false);
      expect((await open(false)).isCertain).toBe(true); // nothing depends on it yet
    });
  });

  describe('that cannot write down a start, for the disk is full', () => {
    it('is uncertain until the Admin API has signed a time: starting again and again stops no clock', async () => {
      await marks.write({ signedSeconds: SIGNED, runningMs: 0 });
      marks.write = () => Promise.reject(new ResourceError('resource.no-space', 'The disk is full as told.'));
      const time = await TrustedTime.open(marks, clock);
      expect(time.isCertain).toBe(false);
      time.confirm(SIGNED);
      expect(time.isCertain).toBe(true);
    });

    it('fails for any other reason', async () => {
      await marks.write({ signedSeconds: SIGNED, runningMs: 0 });
      marks.write = () => Promise.reject(new Error('input/output error'));
      await expect(TrustedTime.open(marks, clock)).rejects.toThrow('input/output error');
    });
  });

  describe('whose mark was removed', () => {
    const removed = (): Promise<TrustedTime> => TrustedTime.open(marks, clock, { expectsMark: true });

    it('is uncertain until the Admin API has signed a time, and writes none before', async () => {
      const time = await removed();
      expect(time.isCertain).toBe(false);
      time.raise(SIGNED); // what was carried here says nothing about now
      clock.advance(MARK_INTERVAL_MS);
      await time.keep();
      await time.keepFirst();
      expect([time.isCertain, marks.mark]).toEqual([false, undefined]);
      expect((await removed()).isCertain).toBe(false);
      time.observe(SIGNED);
      await time.keep();
      expect([time.isCertain, (await removed()).isCertain]).toEqual([true, true]);
    });

    it('is certain where there is nothing that a mark was kept for', async () => {
      expect((await TrustedTime.open(marks, clock, { expectsMark: false })).isCertain).toBe(true);
    });
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
