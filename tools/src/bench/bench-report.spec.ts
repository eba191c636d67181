import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import {
  BENCHMARKS_PAGE,
  benchmarksPage,
  CHART,
  notMeasured,
  readResults,
  resultsChart,
  resultsTable,
  shareOfLimit,
} from './bench-report.js';
import type { BenchResult } from './bench-result.js';

const WORKSPACE = join(import.meta.dirname, '..', '..', '..');
const result: BenchResult = {
  id: 'P7',
  bar: 'recipe ≤ 0.12 % of the <file>',
  value: 0.06,
  unit: '% of the file',
  limit: 0.12,
  direction: 'max',
  ok: true,
  peers: { 'recipe bytes': 547_137 },
  machine: '2 × processor',
  date: '2026-11-22T07:53:49.114Z',
  command: 'npm run bench -- --only P7 --json',
};

describe('bench/results', () => {
  it('holds figures with their limits', () => {
    const results = readResults(WORKSPACE);
    expect(results.length).toBeGreaterThan(0);
    for (const { value, limit, direction, ok } of results) {
      expect(limit).toEqual(expect.any(Number));
      if (value !== null) expect(['max', 'min']).toContain(direction);
      else expect(ok).toBe(true);
    }
  });

  it('has the chart that the figures make (npm run bench)', () => {
    expect(readFileSync(join(WORKSPACE, CHART), 'utf8')).toBe(resultsChart(readResults(WORKSPACE)));
  });

  it('has the table in docs/benchmarks.md that the figures make (npm run bench)', () => {
    expect(readFileSync(join(WORKSPACE, BENCHMARKS_PAGE), 'utf8')).toBe(benchmarksPage(WORKSPACE));
  });
});

describe('shareOfLimit', () => {
  it.each([
    ['max', 50, 100, 0.5],
    ['max', 150, 100, 1.5],
    ['max', 0, 0, 0],
    ['max', 1, 0, Infinity],
    ['min', 200, 100, 0.5],
    ['min', 50, 100, 2],
    ['min', 0, 100, Infinity],
    ['min', null, 100, undefined],
  ] as const)('of %s %d against %d is %d', (direction, value, limit, share) => {
    expect(shareOfLimit({ value, limit, direction })).toBe(share);
  });
});

describe('notMeasured', () => {
  it('names every bar without a figure, and none that has one', () => {
    const none = notMeasured([]);
    expect(new Set(none.map(({ id }) => id)).size).toBe(12);
    expect(notMeasured(none)).toEqual([]);
    expect(notMeasured([{ id: 'P2', bar: 'now two cores ≥ 1.5 × one core' }])).toEqual(
      none.filter(({ id }) => id !== 'P2'),
    );
  });

  it('stands in the table', () => {
    expect(resultsTable([result])).toContain('| P6 | cold with a TPM ≤ 600 ms | **not measured** |');
  });
});

describe('the table and the chart', () => {
  it('say what was missed', () => {
    const missed = { ...result, value: 0.5, ok: false };
    expect(resultsTable([missed])).toContain('**missed** 0.5 % of the file');
    expect(resultsChart([missed])).toContain('class="missed"');
    expect(resultsChart([result])).not.toContain('class="missed"');
  });

  it('say what was not measured', () => {
    expect(resultsTable([{ ...result, value: null }])).toContain('not measured');
    expect(resultsChart([{ ...result, value: null }])).toContain('not measured');
  });

  it('are well-formed whatever a bar is called', () => {
    expect(resultsChart([result])).toContain('the &lt;file&gt;');
    expect(resultsTable([{ ...result, bar: 'a | b' }])).toContain('a \\| b');
  });

  it('cut a figure off that is many times its limit, and say how many', () => {
    expect(resultsChart([{ ...result, value: 1.2, ok: false }])).toContain('(10 ×)');
  });
});
