import { DownloadSlots, MOST_DOWNLOADS } from './download-slots.js';

const never = new AbortController().signal;

describe('DownloadSlots', () => {
  it('lets eight downloads run at once, and the next when one ends, first come first served', async () => {
    const slots = new DownloadSlots();
    for (let index = 0; index < MOST_DOWNLOADS; index++) await slots.take(never);
    const entered: number[] = [];
    const waiting = [1, 2].map((number) => slots.take(never).then(() => entered.push(number)));
    expect(slots.takeIfFree()).toBe(false);
    slots.giveBack();
    await waiting[0];
    expect(entered).toEqual([1]);
    slots.giveBack();
    await waiting[1];
    expect(entered).toEqual([1, 2]);
  });

  it('gives a free slot to nobody while others wait', async () => {
    const slots = new DownloadSlots(1);
    await slots.take(never);
    const waiting = slots.take(never);
    slots.giveBack();
    expect(slots.takeIfFree()).toBe(false);
    await waiting;
  });

  it('halves what runs at once with each failure, down to one, and grows by one after as many successes', () => {
    const slots = new DownloadSlots();
    const limits: number[] = [];
    for (let failure = 0; failure < 5; failure++) {
      slots.failed();
      limits.push(slots.current);
    }
    expect(limits).toEqual([4, 2, 1, 1, 1]);
    const grown: number[] = [];
    for (let success = 0; success < 1 + 2 + 3 + 4 + 5 + 6 + 7 + 100; success++) {
      slots.succeeded(1000, 10);
      if (grown.at(-1) !== slots.current) grown.push(slots.current);
    }
    expect(grown).toEqual([2, 3, 4, 5, 6, 7, 8]);
  });

  it('lets the first who waits in as soon as the link is asked for more', async () => {
    const slots = new DownloadSlots();
    slots.failed();
    slots.failed();
    slots.failed();
    await slots.take(never);
    let entered = false;
    const waiting = slots.take(never).then(() => (entered = true));
    await Promise.resolve();
    expect(entered).toBe(false);
    slots.succeeded(1000, 10);
    await waiting;
    expect(slots.current).toBe(2);
  });

  it('lets nobody in while more run than a failing link is asked for', async () => {
    const slots = new DownloadSlots(4);
    for (let index = 0; index < 4; index++) await slots.take(never);
    slots.failed();
    let entered = false;
    const waiting = slots.take(never).then(() => (entered = true));
    slots.giveBack();
    slots.giveBack();
    await Promise.resolve();
    expect(entered).toBe(false);
    slots.giveBack();
    await waiting;
    expect(entered).toBe(true);
  });

  it('forgets who gave up waiting', async () => {
    const slots = new DownloadSlots(1);
    await slots.take(never);
    const given = new AbortController();
    const first = slots.take(given.signal);
    const second = slots.take(never);
    given.abort(new Error('given up'));
    await expect(first).rejects.toThrow('given up');
    await expect(slots.take(given.signal)).rejects.toThrow('given up');
    slots.giveBack();
    await second;
  });

  it('expects what the downloads before took, the newest counting most', () => {
    const slots = new DownloadSlots();
    expect(slots.expectedMs(1000)).toBeUndefined();
    slots.succeeded(1000, 10);
    expect(slots.expectedMs(1000)).toBe(10);
    slots.succeeded(5000, 10);
    expect(slots.expectedMs(1000)).toBe(5);
  });
});
