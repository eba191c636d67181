import { UpdateLoop } from './update-loop.js';

describe('UpdateLoop', () => {
  it('begins at once, and pauses for the interval give or take a fifth', async () => {
    let rounds = 0;
    const round = (): Promise<void> => {
      rounds += 1;
      return Promise.resolve();
    };
    expect(new UpdateLoop(300_000, round, () => 0).pauseMs()).toBe(240_000);
    expect(new UpdateLoop(300_000, round, () => 0.5).pauseMs()).toBe(300_000);
    expect(new UpdateLoop(300_000, round, () => 1).pauseMs()).toBeCloseTo(360_000);
    const loop = new UpdateLoop(300_000, round);
    loop.start();
    await loop.stop();
    expect(rounds).toBe(1);
  });

  it('runs one round after another', async () => {
    let atWork = 0;
    let rounds = 0;
    const enough = Promise.withResolvers<boolean>();
    const loop = new UpdateLoop(1, async () => {
      atWork += 1;
      expect(atWork).toBe(1);
      await new Promise((resolve) => setImmediate(resolve));
      atWork -= 1;
      rounds += 1;
      if (rounds === 3) enough.resolve(true);
    });
    loop.start();
    await enough.promise;
    await loop.stop();
  });

  it('ends the round at work when it is stopped, and begins no other', async () => {
    let rounds = 0;
    const loop = new UpdateLoop(1, (signal) => {
      rounds += 1;
      return new Promise((resolve) => signal.addEventListener('abort', () => resolve()));
    });
    loop.start();
    await loop.stop();
    loop.start();
    expect(rounds).toBe(1);
  });

  it('runs nothing with the interval 0', async () => {
    const loop = new UpdateLoop(0, () => Promise.reject(new Error('must not run')));
    loop.start();
    await loop.stop();
  });
});
