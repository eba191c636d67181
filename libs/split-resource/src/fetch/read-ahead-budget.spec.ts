import { ReadAheadBudget } from './read-ahead-budget.js';

describe('ReadAheadBudget', () => {
  it('gives one read all of it, and not a byte more', () => {
    const share = new ReadAheadBudget(100).join();
    expect(share.take(60)).toBe(true);
    expect(share.take(41)).toBe(false);
    expect(share.take(40)).toBe(true);
    share.giveBack(60);
    expect(share.take(60)).toBe(true);
  });

  it('gives a read that holds nothing its first range, however large and whoever holds the rest', () => {
    const budget = new ReadAheadBudget(100);
    expect(budget.join().take(100)).toBe(true);
    const late = budget.join();
    expect(late.take(500)).toBe(true);
    expect(late.take(1)).toBe(false);
  });

  it('shares evenly among those who read, and gives back what a read that ends has held', () => {
    const budget = new ReadAheadBudget(100);
    const [one, two] = [budget.join(), budget.join()];
    expect([one.take(25), one.take(25), one.take(1)]).toEqual([true, true, false]);
    expect([two.take(25), two.take(25), two.take(1)]).toEqual([true, true, false]);
    one.leave();
    expect([two.take(50), two.take(1)]).toEqual([true, false]);
  });
});
