import { parseArgs } from 'node:util';

import { fuzzTarget, keep } from './fuzz/fuzz.js';
import { fuzzTargets } from './fuzz/targets.js';

const USAGE = `Usage: npm run fuzz -- [--cases N] [--seed N] [--target NAME]

Reads changed inputs with every reader of bytes from outside. N cases in all (default 100000), shared out over the targets.
A case that is neither read nor refused in the reader's own way is kept in tools/fuzz-corpus and ends the run with status 1.
`;

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
    const finding = await fuzzTarget(target, each, seed);
    const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
    process.stdout.write(
      `${target.name.padEnd(20)} ${String(each).padStart(8)} cases ${seconds.padStart(7)} s  ${finding === undefined ? 'nothing found' : 'FOUND'}\n`,
    );
    if (finding === undefined) continue;
    found += 1;
    await keep(finding);
    process.stdout.write(`  ${finding.bytes.toString('base64')}\n  ${String(finding.error)}\n`);
  }
  process.stdout.write(
    `${each * targets.length} cases, seed ${seed}: ${found === 0 ? 'nothing found' : `${found} findings`}.\n`,
  );
  return found === 0 ? 0 : 1;
}

process.exitCode = await main();
