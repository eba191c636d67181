import { Output, type TextSink } from './output.js';

const MIB = 2 ** 20;

describe('Output.progress', () => {
  let said: string;
  let nowMs: number;
  const sink: TextSink = { write: (text) => (said += text) };
  const output = (json = false): Output => new Output(sink, sink, json, () => nowMs);

  beforeEach(() => {
    said = '';
    nowMs = 0;
  });

  it('says in plain lines where there is no terminal how far it is, how fast, and how long it takes yet', () => {
    const progress = output().progress('fetch models/x', 100 * MIB);
    nowMs = 1000;
    progress.update(10 * MIB);
    expect(said).toBe('');
    nowMs = 5000;
    progress.update(50 * MIB, undefined, '3 MiB downloaded');
    expect(said).toBe('fetch models/x: 50.0 MiB of 100.0 MiB (50%), 10.0 MiB/s, 5 s left, 3 MiB downloaded\n');
  });

  it('ends with a line of the whole, once', () => {
    const progress = output().progress('fetch models/x', 100 * MIB);
    nowMs = 2000;
    progress.update(100 * MIB);
    progress.stop();
    progress.stop();
    expect(said).toBe('fetch models/x: 100.0 MiB of 100.0 MiB (100%), 50.0 MiB/s\n');
  });

  it('promises nothing while the whole is not known', () => {
    const progress = output().progress('bundle');
    nowMs = 5000;
    progress.update(50 * MIB);
    expect(said).toBe('bundle: 50.0 MiB, 10.0 MiB/s\n');
  });

  it('says nothing to machines', () => {
    const progress = output(true).progress('fetch models/x', 100 * MIB);
    nowMs = 60_000;
    progress.update(50 * MIB);
    progress.stop();
    expect(said).toBe('');
  });
});
