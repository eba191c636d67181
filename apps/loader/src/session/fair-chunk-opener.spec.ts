import { ChunkOpener, type OpenedChunks, type SealedRun } from '@azaion/split-resource';

import { FairChunkOpener } from './fair-chunk-opener.js';

const RUN: SealedRun = { bytes: new Uint8Array(), movable: false, chunks: [] };
const CHUNKS = 60;

/** Keeps the thread busy for a millisecond with each chunk, as opening one does. */
class BusyOpener extends ChunkOpener {
  ended = 0;

  // eslint-disable-next-line @typescript-eslint/require-await -- others work elsewhere
  override async *open(): AsyncGenerator<OpenedChunks, void> {
    try {
      for (let chunk = 0; chunk < CHUNKS; chunk += 1) {
        const startedMs = performance.now();
        while (performance.now() - startedMs < 1);
        yield { plaintext: Buffer.of(chunk), plaintextBytes: 1, count: 1 };
      }
    } finally {
      this.ended += 1;
    }
  }
}

/** How often the event loop turned while a promise was waited for. */
async function turnsWhile(work: Promise<unknown>): Promise<number> {
  const state = { turns: 0, done: false };
  const count = (): void => {
    state.turns += 1;
    if (!state.done) setImmediate(count);
  };
  setImmediate(count);
  await work.finally(() => (state.done = true));
  return state.turns;
}

async function all(opener: ChunkOpener): Promise<readonly (number | undefined)[]> {
  const found: (number | undefined)[] = [];
  for await (const { plaintext } of opener.open(RUN)) found.push(plaintext[0]);
  return found;
}

describe('FairChunkOpener', () => {
  it('opens what the opener behind it opens, in order, and ends with it', async () => {
    const busy = new BusyOpener();
    const opener = new FairChunkOpener(busy);
    expect(await all(opener)).toEqual(Array.from({ length: CHUNKS }, (_, chunk) => chunk));
    const some = opener.open(RUN);
    await some.next();
    await some.return();
    expect(busy.ended).toBe(2);
  });

  it('lets the event loop turn, which the opener alone does not', async () => {
    expect(await turnsWhile(all(new BusyOpener()))).toBeLessThanOrEqual(1);
    // Every chunk takes a millisecond at least, which is more than a turn has.
    expect(await turnsWhile(all(new FairChunkOpener(new BusyOpener())))).toBeGreaterThanOrEqual(CHUNKS / 2);
  });

  it('shares a turn among readers at the same time', async () => {
    const opener = new FairChunkOpener(new BusyOpener());
    const readers = Array.from({ length: 4 }, () => all(opener));
    expect(await turnsWhile(Promise.all(readers))).toBeGreaterThanOrEqual(CHUNKS / 3);
  });
});
