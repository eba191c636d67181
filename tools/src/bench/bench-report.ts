import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { withBlock } from '../docs/generated-block.js';
import type { BenchResult } from './bench-result.js';

/** Where figures, and the chart of them, lie in the workspace. */
export const RESULTS_DIRECTORY = 'bench/results';
/** The chart, beside the figures. */
export const CHART = 'bench/results/chart.svg';
/** The page with the table of the figures. */
export const BENCHMARKS_PAGE = 'docs/benchmarks.md';

/** The newest figures, in the order of their bars. */
export function readResults(workspace: string): readonly BenchResult[] {
  const directory = join(workspace, RESULTS_DIRECTORY);
  return readdirSync(directory)
    .filter((name) => /^P\d+\.json$/.test(name))
    .toSorted((left, right) => Number(left.slice(1, -5)) - Number(right.slice(1, -5)))
    .flatMap((name) => JSON.parse(readFileSync(join(directory, name), 'utf8')) as BenchResult[]);
}

/** The page with its table, as the figures make it. */
export function benchmarksPage(workspace: string): string {
  return withBlock(
    readFileSync(join(workspace, BENCHMARKS_PAGE), 'utf8'),
    'results',
    resultsTable(readResults(workspace)),
  );
}

/** Writes chart and table anew. */
export function writeReport(workspace: string): void {
  writeFileSync(join(workspace, CHART), resultsChart(readResults(workspace)));
  writeFileSync(join(workspace, BENCHMARKS_PAGE), benchmarksPage(workspace));
}

/** Bars of the page's first table that no figure stands for until it was measured: of each the words that its figure has. */
const EXPECTED: readonly { readonly id: string; readonly bar: string }[] = [
  { id: 'P1', bar: 'openssl' },
  { id: 'P1', bar: 'age' },
  { id: 'P1', bar: 'rclone' },
  { id: 'P2', bar: 'two cores ≥ 1.5 × one core' },
  { id: 'P3', bar: 'legacy 1 GiB' },
  { id: 'P4', bar: 'peak of the Loader above its idle ≤ 160 MiB' },
  { id: 'P4', bar: '10 GiB within 10 % of 1 GiB' },
  { id: 'P5', bar: 'the speed of a plain parallel download' },
  { id: 'P6', bar: 'first byte of 10 GiB ≤ 2 × that of 10 MiB' },
  { id: 'P6', bar: 'first byte of 10 GiB ≤ 150 ms' },
  { id: 'P6', bar: 'cold with a TPM ≤ 600 ms' },
  { id: 'P7', bar: '10 % of the tensors changed' },
  { id: 'P7', bar: '1000 bytes inserted' },
  { id: 'P7', bar: 'one layer of a 600 MB image archive changed' },
  { id: 'P7', bar: 'recipe ≤ 0.12 % of the file' },
  { id: 'P8', bar: 'docker load' },
  { id: 'P8', bar: 'files with plaintext' },
  { id: 'P9', bar: 'a Node file server' },
  { id: 'P10', bar: '220 MB/s' },
  { id: 'P10', bar: '200 MiB' },
  { id: 'P11', bar: 'grants for a 200 MB resource' },
  { id: 'P11', bar: 'p99 at 100 grants/s' },
  { id: 'P11', bar: 'ten logins at once' },
  { id: 'P11', bar: 'GET /users' },
  { id: 'P12', bar: '/health while 1 GiB is opened' },
  { id: 'P12', bar: 'start-up' },
  { id: 'P12', bar: 'idle memory' },
];

/** Bars without a figure. */
export function notMeasured(
  results: readonly Pick<BenchResult, 'id' | 'bar'>[],
): readonly { readonly id: string; readonly bar: string }[] {
  return EXPECTED.filter(({ id, bar }) => !results.some((result) => result.id === id && result.bar.includes(bar)));
}

/** A row for each figure: what was measured, what must hold, and beside what; then a row for each bar without one. */
export function resultsTable(results: readonly BenchResult[]): string {
  const rows = results.map(({ id, bar, value, unit, limit, direction, ok, peers, date }) => {
    const beside = Object.entries(peers).map(([name, figure]) => `${name}: ${figure}`);
    const cells = [
      id,
      bar,
      value === null ? 'not measured' : `${ok ? '' : '**missed** '}${value} ${unit}`,
      `${direction === 'max' ? '≤' : '≥'} ${limit}`,
      beside.join('; '),
      date.slice(0, 10),
    ];
    return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  });
  const machines = [...new Set(results.map(({ machine }) => machine))].map((machine) => `Measured on ${machine}.`);
  return [
    '| id | what must hold | figure | limit | beside | date |',
    '|---|---|---|---|---|---|',
    ...rows,
    ...notMeasured(results).map(({ id, bar }) => `| ${id} | ${bar} | **not measured** | | | |`),
    '',
    ...machines,
  ].join('\n');
}

const ROW_HEIGHT = 22;
const TOP = 46;
const LABEL_WIDTH = 560;
const UNIT_WIDTH = 160;
/** More than this many limits are cut off, with their number beside them. */
const MOST_LIMITS = 3;
const WIDTH = LABEL_WIDTH + MOST_LIMITS * UNIT_WIDTH + 150;

/** How much of its limit a figure takes, whichever way the limit points: at most 1 where the bar holds. */
export function shareOfLimit({
  value,
  limit,
  direction,
}: Pick<BenchResult, 'value' | 'limit' | 'direction'>): number | undefined {
  if (value === null) return undefined;
  if (direction === 'min') return value === 0 ? Infinity : limit / value;
  if (limit === 0) return value === 0 ? 0 : Infinity;
  return value / limit;
}

/** A bar for each figure, as long as the share of its limit that it takes; left of the line is good. */
export function resultsChart(results: readonly BenchResult[]): string {
  const height = TOP + results.length * ROW_HEIGHT + 14;
  const limitX = LABEL_WIDTH + UNIT_WIDTH;
  const rows = results.flatMap((result, index) => {
    const share = shareOfLimit(result);
    const y = TOP + index * ROW_HEIGHT;
    const width = Math.max(2, Math.round(Math.min(share ?? 0, MOST_LIMITS) * UNIT_WIDTH));
    const figure = result.value === null ? 'not measured' : `${result.value} ${result.unit}`;
    const beyond =
      share !== undefined && share > MOST_LIMITS && Number.isFinite(share) ? ` (${share.toFixed(0)} ×)` : '';
    return [
      `<text x="${LABEL_WIDTH - 8}" y="${y + 14}" text-anchor="end">${escaped(`${result.id}  ${result.bar}`)}</text>`,
      `<rect x="${LABEL_WIDTH}" y="${y + 3}" width="${width}" height="14" rx="2" class="${result.ok ? 'holds' : 'missed'}"/>`,
      `<text x="${LABEL_WIDTH + width + 6}" y="${y + 14}" class="figure">${escaped(figure + beyond)}</text>`,
    ];
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="Figures as shares of their limits">`,
    '<style>text{font:12px system-ui,sans-serif;fill:#1f2937}.figure{fill:#4b5563}.title{font-weight:600;font-size:14px}.holds{fill:#15803d}.missed{fill:#b45309}.limit{stroke:#111827;stroke-dasharray:4 3}</style>',
    `<rect width="${WIDTH}" height="${height}" fill="#ffffff"/>`,
    '<text x="14" y="20" class="title">Figures as shares of their limits</text>',
    `<text x="${limitX}" y="32" text-anchor="middle">limit</text>`,
    `<line x1="${limitX}" y1="38" x2="${limitX}" y2="${height - 8}" class="limit"/>`,
    ...rows,
    '</svg>',
    '',
  ].join('\n');
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
