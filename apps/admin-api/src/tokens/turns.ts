import { tooBusy } from './password-hasher.js';

interface Line {
  last: Promise<unknown>;
  /** With the one whose turn it is. */
  waiting: number;
}

/** Makes work on the same key wait for each other, within this process. */
export class Turns {
  private readonly lines = new Map<string, Line>();

  /** @param mostWaiting - Behind the one whose turn it is, for one key. */
  constructor(private readonly mostWaiting: number) {}

  /** @throws AdminError `hashing.busy` when too many wait already; what the work throws. */
  async take<T>(key: string, work: () => Promise<T>): Promise<T> {
    const line = this.lines.get(key) ?? { last: Promise.resolve(), waiting: 0 };
    if (line.waiting > this.mostWaiting) throw tooBusy();
    this.lines.set(key, line);
    line.waiting += 1;
    const result = line.last.then(work);
    line.last = result.catch(() => undefined);
    try {
      return await result;
    } finally {
      line.waiting -= 1;
      if (line.waiting === 0) this.lines.delete(key);
    }
  }
}
