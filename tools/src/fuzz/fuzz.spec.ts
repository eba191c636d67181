import { Worker } from 'node:worker_threads';

import { CaseLog } from './case-log.js';
import { corpusNames, corpusOf, fuzzTarget, tryCase } from './fuzz.js';
import { Dice, mutate } from './mutations.js';
import { type FuzzTarget, fuzzTargets } from './targets.js';
import { watchThread } from './watched-thread.js';

let targets: readonly FuzzTarget[];
beforeAll(async () => {
  targets = await fuzzTargets();
});

describe('readers of bytes from outside', () => {
  it('read every seed: a seed that is refused would show nothing', async () => {
    for (const target of targets)
      await expect(
        Promise.resolve(target.seeds[0]).then((seed) => target.read(seed ?? Buffer.alloc(0))),
      ).resolves.not.toThrow();
  });

  it('read or refuse every case that was a finding once', async () => {
    for (const target of targets)
      for (const bytes of await corpusOf(target.name)) expect(await tryCase(target, bytes)).toBeUndefined();
  });

  it('read or refuse changed inputs', async () => {
    for (const target of targets) expect(await fuzzTarget(target, 60, 20_261_122)).toBeUndefined();
  });

  it('have a corpus for nothing that is not there', async () => {
    const names = targets.map(({ name }) => name);
    expect((await corpusNames()).filter((name) => !names.includes(name))).toEqual([]);
  });
});

describe('a watched thread', () => {
  const thread = (code: string, log: CaseLog): Worker =>
    new Worker(`const { parentPort, workerData } = require('node:worker_threads'); ${code}`, {
      eval: true,
      workerData: log.memory,
    });

  it('is ended when a case gives it back never, and the case is known', async () => {
    const log = new CaseLog();
    log.begin(Buffer.from('the case'));
    expect(await watchThread(thread('for (;;);', log), log, 300)).toEqual({
      kind: 'hangs',
      bytes: Buffer.from('the case'),
    });
  });

  it('tells its result, however long it takes as long as cases begin', async () => {
    const log = new CaseLog();
    const busy = `const count = new Int32Array(workerData, 0, 2);
      const timer = setInterval(() => { if (Atomics.add(count, 0, 1) > 60) { clearInterval(timer); parentPort.postMessage('over'); } }, 20);`;
    expect(await watchThread(thread(busy, log), log, 10_000)).toEqual({ kind: 'done', message: 'over' });
    expect(log.count).toBeGreaterThan(60);
  });

  it('says what ended it, and with which case', async () => {
    const log = new CaseLog();
    log.begin(Buffer.alloc(2 * 1024 ** 2, 7));
    const ending = await watchThread(thread('throw new Error("broken");', log), log, 10_000);
    expect(ending).toMatchObject({ kind: 'died', error: { message: 'broken' } });
    expect(log.current.equals(Buffer.alloc(1024 ** 2, 7))).toBe(true);
  });
});

describe('fuzzing', () => {
  it('finds an error that is no refusal', async () => {
    const fragile: FuzzTarget = {
      name: 'fragile',
      seeds: [Buffer.from('{"a":1}')],
      read: (bytes) => JSON.parse(bytes.toString('utf8')) as unknown,
    };
    expect((await fuzzTarget(fragile, 1000, 1))?.error).toBeInstanceOf(SyntaxError);
  });

  it('repeats its cases for the same seed, and makes others for another', () => {
    const cases = (seed: number): string[] => {
      const dice = new Dice(seed);
      return Array.from({ length: 50 }, () => mutate([Buffer.alloc(64, 1)], dice).toString('hex'));
    };
    expect(cases(7)).toEqual(cases(7));
    expect(cases(7)).not.toEqual(cases(8));
  });
});
