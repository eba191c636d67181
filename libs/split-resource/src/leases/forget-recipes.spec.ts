import { InMemorySegmentStore } from '../testing/in-memory-segment-store.js';
import { ForgetRecipes, type ForgottenRecipes } from './forget-recipes.js';

const NOW = 1_800_000_000_000;
const HOUR_MS = 3_600_000;
const WEEK_MS = 168 * HOUR_MS;

let store: InMemorySegmentStore;
let leased: Set<string>;

const rootOf = (digit: string): string => digit.repeat(64);
const keep = async (digit: string, unusedMs: number, sizeBytes = 100): Promise<void> => {
  store.nowMs = () => NOW - unusedMs;
  await store.write(`${rootOf(digit)}/root/0`, new Uint8Array(sizeBytes / 2));
  await store.write(`${rootOf(digit)}/chunks/0`, new Uint8Array(sizeBytes / 2));
};
const run = (limitBytes = 1000): Promise<ForgottenRecipes> =>
  new ForgetRecipes({ segments: store, leased: () => Promise.resolve(leased), nowMs: () => NOW, limitBytes }).run();
const kept = async (): Promise<string> =>
  (await store.recipes())
    .map(({ rootHash }) => rootHash[0])
    .sort()
    .join('');

beforeEach(() => {
  store = new InMemorySegmentStore();
  leased = new Set();
});

describe('ForgetRecipes', () => {
  it.each([
    [WEEK_MS - 1, 'a'],
    [WEEK_MS, ''],
  ])('leaves what was used %i ms ago: "%s"', async (unusedMs, left) => {
    await keep('a', unusedMs);
    await run();
    expect(await kept()).toBe(left);
  });

  it('never removes what a lease names, however old it is and however little room there is', async () => {
    leased.add(rootOf('a'));
    await keep('a', 100 * WEEK_MS);
    await keep('b', 100 * WEEK_MS);
    expect(await run(0)).toEqual({ recipes: 1, bytes: 100 });
    expect(await kept()).toBe('a');
  });

  it('removes the oldest first when they take too much room, and only as many as it must', async () => {
    await keep('b', 3 * HOUR_MS);
    await keep('a', 2 * HOUR_MS);
    await keep('c', 4 * HOUR_MS);
    expect(await run(200)).toEqual({ recipes: 1, bytes: 100 });
    expect(await kept()).toBe('ab');
  });

  it('removes nothing that may be in use, whatever room it takes', async () => {
    await keep('a', HOUR_MS - 1);
    await keep('b', HOUR_MS);
    await run(0);
    expect(await kept()).toBe('a');
  });

  it('keeps the disk of a device bounded that gets a new version every day for a year', async () => {
    for (let day = 365; day > 0; day -= 1) {
      store.nowMs = () => NOW - day * 24 * HOUR_MS;
      await store.write(`${day.toString(16).padStart(64, '0')}/root/0`, new Uint8Array(10));
    }
    await run();
    expect((await store.recipes()).length).toBe(6);
  });
});
