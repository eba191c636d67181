import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Worker } from 'node:worker_threads';

import { CaseLog } from './fuzz/case-log.js';
import { keep } from './fuzz/fuzz.js';
import type { FuzzJob, FuzzReport } from './fuzz/fuzz-job.js';
import { fuzzTargets } from './fuzz/targets.js';
import { type Ending, watchThread } from './fuzz/watched-thread.js';

const USAGE = `Usage: npm run fuzz -- [--cases N] [--seed N] [--target NAME]

Reads changed inputs with every reader of bytes from outside. N cases in all (default 100000), shared out over the targets.
A case that is neither read nor refused in the reader's own way, or is not over after 20 seconds, is kept in tools/fuzz-corpus and ends the
run with status 1; so does a reader with which the process holds 128 MiB more at the end than after the first tenth of its cases.
`;
/** A case that is not over by then hangs. */
const HANGS_MS = 20_000;
const MOST_GROWTH_BYTES = 128 * 1024 ** 2;
const THREAD = new URL('./fuzz/fuzz-thread.js', import.meta.url);

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      cases: { type: 'string', default: '100000' },
      seed: { type: 'string', default: String(Date.now() % 0x7fff_ffff) },
      target: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  const [cases, seed] = [Number(values.cases), Number(values.seed)];
  const targets = (await fuzzTargets()).filter(({ name }) => values.target === undefined || name === values.target);
  if (values.help || targets.length === 0 || !Number.isSafeInteger(cases) || cases < 1 || !Number.isSafeInteger(seed)) {
    process.stdout.write(USAGE);
    return values.help ? 0 : 2;
  }
  const each = Math.ceil(cases / targets.length);
  let found = 0;
  for (const target of targets) {
    const startedMs = performance.now();
    const ending = await run(target.name, each, seed);
    const { problem, bytes } = judged(ending);
    const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
    process.stdout.write(
      `${target.name.padEnd(20)} ${String(each).padStart(8)} cases ${seconds.padStart(7)} s  ${problem ?? 'nothing found'}\n`,
    );
    if (problem === undefined) continue;
    found += 1;
    if (bytes === undefined) continue;
    await keep({ target: target.name, bytes });
    process.stdout.write(`  ${bytes.toString('base64')}\n`);
  }
  process.stdout.write(
    `${each * targets.length} cases, seed ${seed}: ${found === 0 ? 'nothing found' : `${found} findings`}.\n`,
  );
  return found === 0 ? 0 : 1;
}

/** In a thread of its own, which can be ended whatever it does. */
async function run(target: string, cases: number, seed: number): Promise<Ending<FuzzReport>> {
  const log = new CaseLog();
  const directory = await mkdtemp(join(tmpdir(), 'azaion-fuzz-'));
  try {
    const workerData: FuzzJob = { target, cases, seed, memory: log.memory };
    const worker = new Worker(THREAD, { workerData, env: { ...process.env, TMPDIR: directory } });
    return await watchThread<FuzzReport>(worker, log, HANGS_MS);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

function judged(ending: Ending<FuzzReport>): { readonly problem?: string; readonly bytes?: Buffer } {
  if (ending.kind === 'hangs') return { problem: 'HANGS', bytes: ending.bytes };
  if (ending.kind === 'died') return { problem: `DIED: ${String(ending.error)}`, bytes: ending.bytes };
  const { finding, grownBytes } = ending.message;
  if (finding !== undefined) return { problem: `FOUND: ${finding.error}`, bytes: Buffer.from(finding.bytes) };
  return grownBytes > MOST_GROWTH_BYTES ? { problem: `GREW by ${Math.round(grownBytes / 1024 ** 2)} MiB` } : {};
}

process.exitCode = await main();
