// `npm test`: builds, sets the real components up, runs unit and contract suites, then end-to-end suites against the
// built services. Arguments are passed on to Jest (`npm test -- unlock`).
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { jestEnvironment, run } from './workspace.mjs';

const inCi = process.env.CI === 'true';
const suites = [
  { name: 'unit and contract', config: 'jest.config.mjs' },
  { name: 'end to end', config: 'tools/jest.e2e.config.mjs' },
];

/** Runs one Jest configuration and counts its tests. A suite that could not be loaded counts as one failure. */
async function runSuites({ name, config }, directory) {
  console.log(`\n› ${name}`);
  const report = join(directory, `${name.replaceAll(' ', '-')}.json`);
  const selection = process.argv.length > 2 ? ['--passWithNoTests', ...process.argv.slice(2)] : [];
  const jest = ['--config', config, '--maxWorkers=2', '--json', `--outputFile=${report}`, ...selection];
  const { status } = await run('jest', jest, jestEnvironment);
  try {
    const counts = JSON.parse(await readFile(report, 'utf8'));
    return {
      status,
      passed: counts.numPassedTests,
      failed: counts.numFailedTests + counts.numRuntimeErrorTestSuites,
      skipped: counts.numPendingTests + counts.numTodoTests,
    };
  } catch {
    return { status: 1, passed: 0, failed: 1, skipped: 0 };
  }
}

async function test() {
  for (const [command, ...args] of [
    ['npm', 'run', '--silent', 'build'],
    ['node', 'tools/dist/setup.js'],
  ]) {
    const { status } = await run(command, args);
    if (status !== 0) return status;
  }
  const directory = await mkdtemp(join(tmpdir(), 'azaion-test-'));
  const total = { status: 0, passed: 0, failed: 0, skipped: 0 };
  for (const suite of suites) {
    const counts = await runSuites(suite, directory);
    for (const key of Object.keys(total)) total[key] += counts[key];
  }
  await rm(directory, { recursive: true });
  if (total.skipped > 0) {
    console.log(
      `\n${total.skipped} tests were skipped for want of a component; the title of each suite says which and how to get it.`,
    );
    if (inCi) console.log('In CI nothing may be skipped.');
  }
  console.log(`\n${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
  return total.status === 0 && total.failed === 0 && !(inCi && total.skipped > 0) ? 0 : 1;
}

process.exitCode = await test();
