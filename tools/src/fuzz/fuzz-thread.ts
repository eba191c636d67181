import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { parentPort, workerData } from 'node:worker_threads';

import { CaseLog } from './case-log.js';
import type { FuzzJob, FuzzReport } from './fuzz-job.js';
import { fuzzTarget } from './fuzz.js';
import { fuzzTargets } from './targets.js';

/** Left to itself, the heap takes hundreds of MiB of garbage before it is collected, and the process gives little of that back: this would look like growth. */
const COLLECTED_EVERY = 1000;

/** A thread of its own: reads the cases of one target and reports. */
setFlagsFromString('--expose_gc');
const collect = runInNewContext('gc') as () => void;
const { target: name, cases, seed, memory } = workerData as FuzzJob;
const target = (await fuzzTargets()).find((each) => each.name === name);
if (target === undefined) throw new Error(`there is no target ${name}`);
const log = new CaseLog(memory);
let warmBytes = 0;
const finding = await fuzzTarget(target, cases, seed, (bytes) => {
  log.begin(bytes);
  if (log.count % COLLECTED_EVERY === 0) collect();
  if (log.count === Math.ceil(cases / 10)) warmBytes = heldBytes();
});
const report: FuzzReport = {
  finding: finding && { bytes: finding.bytes, error: String(finding.error) },
  grownBytes: heldBytes() - warmBytes,
};
parentPort?.postMessage(report);

/** After a collection: what is held, not what was used. */
function heldBytes(): number {
  collect();
  return process.memoryUsage().rss;
}
