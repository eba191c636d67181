import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

import { RESULTS_DIRECTORY, writeReport } from './bench/bench-report.js';
import { asResult, type BenchResult, type Measurement } from './bench/bench-result.js';
import { adminBenchmarks } from './bench/admin-benchmarks.js';
import { largeBenchmarks } from './bench/large-benchmarks.js';
import { linkBenchmarks } from './bench/link-benchmarks.js';
import { loaderBenchmarks } from './bench/loader-benchmarks.js';
import { openBenchmarks } from './bench/open-benchmarks.js';
import { publishBenchmarks } from './bench/publish-benchmarks.js';
import { unlockBenchmarks } from './bench/unlock-benchmarks.js';
import { updateBenchmarks } from './bench/update-benchmarks.js';
import { WORKSPACE } from './started-service.js';

/** `npm run bench [-- --only P1,P7] [--json]`: measures the bars; each group's results go to bench/results, and into chart and table, as soon as it ends. Ends with 1 when a bar is missed or a group fails. */
const groups: readonly {
  readonly ids: readonly string[];
  readonly run: (only: ReadonlySet<string>) => Promise<readonly Measurement[]>;
}[] = [
  { ids: ['P1', 'P2'], run: openBenchmarks },
  { ids: ['P3', 'P9', 'P12'], run: loaderBenchmarks },
  { ids: ['P4', 'P6'], run: largeBenchmarks },
  { ids: ['P5'], run: linkBenchmarks },
  { ids: ['P7'], run: updateBenchmarks },
  { ids: ['P8'], run: unlockBenchmarks },
  { ids: ['P10'], run: publishBenchmarks },
  { ids: ['P11'], run: adminBenchmarks },
];
const { values } = parseArgs({ options: { only: { type: 'string' }, json: { type: 'boolean', default: false } } });
const known = groups.flatMap(({ ids }) => ids);
const only = new Set(values.only === undefined ? known : values.only.split(','));
const unknown = [...only].filter((id) => !known.includes(id));
if (unknown.length > 0) {
  console.error(`No such benchmark: ${unknown.join(', ')}. There are ${known.join(', ')}.`);
  process.exit(2);
}

const results: BenchResult[] = [];
const failures: unknown[] = [];
const directory = join(WORKSPACE, RESULTS_DIRECTORY);
await mkdir(directory, { recursive: true });
for (const { ids, run } of groups) {
  if (!ids.some((id) => only.has(id))) continue;
  try {
    const measured = (await run(only)).map(asResult);
    results.push(...measured);
    if (!values.json) measured.forEach(printLine);
    await keep(measured);
  } catch (error) {
    // The other groups took their time too: one that cannot be measured does not lose them.
    failures.push(error);
    console.error(`${ids.join(', ')} could not be measured:`, error);
  }
}
if (values.json) console.log(JSON.stringify(results));
process.exitCode = failures.length === 0 && results.every(({ ok }) => ok) ? 0 : 1;

/** Puts the figures of a group in place of its former ones, and makes chart and table anew. */
async function keep(measured: readonly BenchResult[]): Promise<void> {
  for (const id of new Set(measured.map((result) => result.id))) {
    const mine = measured.filter((result) => result.id === id);
    await writeFile(join(directory, `${id}.json`), `${JSON.stringify(mine, null, 2)}\n`);
  }
  writeReport(WORKSPACE);
}

function printLine({ id, bar, value, unit, ok, peers }: BenchResult): void {
  const beside = Object.entries(peers).map(([name, figure]) => `${name} ${figure}`);
  console.log(
    `${id}  ${ok ? 'ok    ' : 'MISSED'}  ${bar}: ${value ?? 'not measured,'} ${unit}  (${beside.join(', ')})`,
  );
}
