import { Turns } from './turns.js';

describe('Turns', () => {
  /** Work that lasts until it is told to end. */
  const pending = (): { readonly work: () => Promise<void>; end: () => void; readonly begun: Promise<void> } => {
    let end: () => void = () => undefined;
    let begin: () => void = () => undefined;
    const begun = new Promise<void>((resolve) => (begin = resolve));
    const over = new Promise<void>((resolve) => (end = resolve));
    return { work: () => (begin(), over), end, begun };
  };

  it('make work on one key wait, and none on another', async () => {
    const turns = new Turns(10);
    const order: string[] = [];
    const first = pending();
    const running = turns.take('a', async () => {
      await first.work();
      order.push('first');
    });
    await first.begun;
    const second = turns.take('a', () => Promise.resolve(order.push('second')));
    await turns.take('b', () => Promise.resolve(order.push('other')));
    expect(order).toEqual(['other']);
    first.end();
    await Promise.all([running, second]);
    expect(order).toEqual(['other', 'first', 'second']);
  });

  it('go on after work that fails, and tell who waited nothing of it', async () => {
    const turns = new Turns(10);
    const failing = turns.take('a', () => Promise.reject(new Error('failed')));
    const next = turns.take('a', () => Promise.resolve('good'));
    await expect(failing).rejects.toThrow('failed');
    await expect(next).resolves.toBe('good');
  });

  it('let as many wait as they are told and send the next away', async () => {
    const turns = new Turns(2);
    const first = pending();
    const taken = [turns.take('a', first.work), ...[1, 2].map(() => turns.take('a', () => Promise.resolve()))];
    await expect(turns.take('a', () => Promise.resolve())).rejects.toMatchObject({ code: 'hashing.busy' });
    first.end();
    await Promise.all(taken);
    await turns.take('a', () => Promise.resolve());
  });
});
