import { ManualClock, SystemClock } from '@azaion/kernel';

import { UpdateLoop } from './update-loop.js';

const clock = new SystemClock();

describe('UpdateLoop', () => {
  it('begins at once, and then once in each interval, give or take a fifth', async () => {
    let rounds = 0;
    const round = (): Promise<void> => {
      rounds += 1;
      return Promise.resolve();
    };
    expect(new UpdateLoop(300_000, round, clock, () => 0).pauseMs()).toBe(240_000);
    expect(new UpdateLoop(300_000, round, clock, () => 0.5).pauseMs()).toBe(300_000);
    expect(new UpdateLoop(300_000, round, clock, () => 1).pauseMs()).toBeCloseTo(360_000);
    const loop = new UpdateLoop(300_000, round, clock);
    loop.start();
    await loop.stop();
    expect(rounds).toBe(1);
  });

  it('runs one round after another', async () => {
    let atWork = 0;
    let rounds = 0;
    const enough = Promise.withResolvers<boolean>();
    const loop = new UpdateLoop(
      1,
      async () => {
        atWork += 1;
        expect(atWork).toBe(1);
        await new Promise((resolve) => setImmediate(resolve));
        atWork -= 1;
        rounds += 1;
        if (rounds === 3) enough.resolve(true);
      },
      clock,
    );
    loop.start();
    await enough.promise;
    await loop.stop();
  });

  it('tells a round when the next is due, and begins that at once when it took so long', async () => {
    const manual = new ManualClock(0);
    const due: number[] = [];
    const enough = Promise.withResolvers<boolean>();
    const loop = new UpdateLoop(
      300_000,
      (_, dueMs) => {
        due.push(dueMs - manual.monotonicMs());
        manual.advance(300_000); // it used up its interval
        if (due.length === 3) enough.resolve(true);
        return Promise.resolve();
      },
      manual,
      () => 0.5,
    );
    loop.start();
    await enough.promise;
    await loop.stop();
    expect(due).toEqual([300_000, 300_000, 300_000]);
  });

  it('ends the round at work when it is stopped, and begins no other', async () => {
    let rounds = 0;
    const loop = new UpdateLoop(
      1,
      (signal) => {
        rounds += 1;
        return new Promise((resolve) => signal.addEventListener('abort', () => resolve()));
      },
      clock,
    );
    loop.start();
    await loop.stop();
    loop.start();
    expect(rounds).toBe(1);
  });

  it('runs nothing with the interval 0', async () => {
    const loop = new UpdateLoop(0, () => Promise.reject(new Error('must not run')), clock);
    loop.start();
    await loop.stop();
  });
});
