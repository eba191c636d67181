// `npm run test:mutation`: changes one place of a library's code at a time, and sees whether the library's own suites notice.
// `-- crypto unlock` chooses libraries, `-- crypto/hpke.ts` or `-- 'crypto/legacy/**'` files below the `src` of one;
// `--percent 10 --seed 7` tries that part of the changes, drawn by the seed; `--concurrency 1` one at a time instead of two; `--constants` also
// what no test runs because it runs before all of them, which takes all suites for each change.
import { parseArgs } from 'node:util';
import { Stryker } from '@stryker-mutator/core';
import { root } from './workspace.mjs';

/** Libraries with a bar, and what of the changes to each must be noticed. */
const LIBRARIES = ['crypto', 'identity', 'split-resource', 'unlock'];
const LEAST_PERCENT = 85;
/** A change counts as noticed when its tests take longer than three times as long as without it, and this: never for a machine with other work. */
const PATIENCE = { timeoutFactor: 3, timeoutMS: 20_000, dryRunTimeoutMinutes: 30 };
/** Code that counts each statement it runs is many times as slow: a test's own limit is for code as it is. */
const TEST_TIMEOUT_MS = 600_000;
const NOTICED = ['Killed', 'Timeout'];
const UNNOTICED = ['Survived', 'NoCoverage'];

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    percent: { type: 'string', default: '100' },
    seed: { type: 'string', default: '1' },
    concurrency: { type: 'string', default: '2' },
    constants: { type: 'boolean', default: false },
  },
});
const sample = { percent: Number(values.percent), seed: Number(values.seed) };

/** Changes the files, and returns what became of every change that was tried. */
async function mutate(library, files) {
  const source = `libs/${library}/src`;
  const report = `coverage/mutation/${library}`;
  return new Stryker({
    mutate: [
      ...files.map((file) => `${source}/${file}`),
      ...['*.spec.ts', 'index.ts', 'testing/**'].map((left) => `!${source}/**/${left}`),
    ],
    // A copy of this, with the links of `node_modules`: what a library takes from others is theirs, unchanged.
    ignorePatterns: ['/*', '!/libs', '!/jest.preset.mjs', 'dist', 'dist-spec'],
    disableTypeChecks: false, // swc leaves types out unread
    plugins: ['@stryker-mutator/jest-runner', './tools/scripts/mutation-plugins.mjs'],
    testRunner: 'jest',
    testRunnerNodeArgs: ['--experimental-vm-modules', '--disable-warning=ExperimentalWarning'],
    jest: { configFile: `libs/${library}/jest.config.mjs`, config: { testTimeout: TEST_TIMEOUT_MS } },
    checkers: sample.percent < 100 ? ['sample'] : [],
    sample,
    ignoreStatic: !values.constants,
    warnings: { slow: false },
    concurrency: Number(values.concurrency),
    ...PATIENCE,
    reporters: ['progress-append-only', 'unnoticed', 'html', 'json'],
    htmlReporter: { fileName: `${report}.html` },
    jsonReporter: { fileName: `${report}.json` },
  }).runMutationTest();
}

process.chdir(root);
const lines = [];
for (const library of LIBRARIES) {
  const chosen = positionals.length === 0 ? [library] : positionals.filter((name) => name.split('/')[0] === library);
  if (chosen.length === 0) continue;
  const results = await mutate(
    library,
    chosen.map((name) => name.slice(library.length + 1) || '**/*.ts'),
  );
  const count = (...statuses) => results.filter(({ status }) => statuses.includes(status)).length;
  const tried = count(...NOTICED, ...UNNOTICED);
  const percent = (100 * count(...NOTICED)) / tried;
  if (percent < LEAST_PERCENT) process.exitCode = 1;
  lines.push(
    `${library}: ${percent.toFixed(1)} % of ${tried} changes noticed, ${count('Timeout')} of them by the time they took; ` +
      `${count('Survived')} not, ${count('NoCoverage')} run by no test. ` +
      `Not counted: ${count('RuntimeError')} with which a suite does not load, ${count('Ignored')} of constants`,
  );
}
console.log(lines.join('\n'));
