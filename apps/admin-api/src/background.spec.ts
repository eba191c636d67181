import { repeat } from './background.js';

describe('repeat', () => {
  it('goes on after a failure, which is reported, and not after it was stopped', async () => {
    const failures: unknown[] = [];
    let rounds = 0;
    let thirdRound: () => void;
    const reached = new Promise<void>((resolve) => (thirdRound = resolve));
    const background = repeat(
      () => {
        rounds += 1;
        if (rounds === 3) thirdRound();
        return rounds === 1 ? Promise.reject(new Error('first')) : Promise.resolve();
      },
      1,
      (error) => failures.push(error),
    );
    const keepAlive = setInterval(() => undefined, 1000); // its own timers hold no process up
    await reached;
    clearInterval(keepAlive);
    await background.stop();
    expect(rounds).toBe(3);
    expect(failures).toEqual([new Error('first')]);
  });

  it('waits for the running round when it is stopped', async () => {
    let finish = (): void => undefined;
    let begun: () => void;
    const started = new Promise<void>((resolve) => (begun = resolve));
    let finished = false;
    const background = repeat(
      () =>
        new Promise<void>((resolve) => {
          finish = () => {
            finished = true;
            resolve();
          };
          begun();
        }),
      1,
      () => undefined,
    );
    const keepAlive = setInterval(() => undefined, 1000);
    await started;
    clearInterval(keepAlive);
    const stopping = background.stop();
    finish();
    await stopping;
    expect(finished).toBe(true);
  });
});
