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

/** `npm run bench [-- --only P1,P7] [--json]`: measures the bars, writes each result to bench/results, and chart and table anew. Ends with 1 when a bar is missed. */
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
for (const { ids, run } of groups) {
  if (!ids.some((id) => only.has(id))) continue;
  for (const measurement of await run(only)) results.push(asResult(measurement));
}
const directory = join(WORKSPACE, RESULTS_DIRECTORY);
await mkdir(directory, { recursive: true });
for (const id of only) {
  const mine = results.filter((result) => result.id === id);
  await writeFile(join(directory, `${id}.json`), `${JSON.stringify(mine, null, 2)}\n`);
}
writeReport(WORKSPACE);
if (values.json) console.log(JSON.stringify(results));
else
  for (const { id, bar, value, unit, ok, peers } of results)
    console.log(
      `${id}  ${ok ? 'ok    ' : 'MISSED'}  ${bar}: ${value ?? 'not measured,'} ${unit}  (${Object.entries(peers)
        .map(([name, figure]) => `${name} ${figure}`)
        .join(', ')})`,
    );
process.exitCode = results.every(({ ok }) => ok) ? 0 : 1;
