// `npm run check`: everything short of the tests. All steps run, also after one has failed.
import { lint } from './lint.mjs';
import { jestEnvironment, run } from './workspace.mjs';

const steps = [
  ['format', async () => (await run('prettier', ['--check', '--log-level=warn', '.'])).status],
  ['types', async () => (await run('tsc', ['--build'])).status],
  ['lint', () => lint()],
  ['unused code', async () => (await run('knip', ['--treat-config-hints-as-errors'])).status],
  [
    'architecture',
    async () => (await run('jest', ['--config', 'tools/jest.config.mjs', 'architecture'], jestEnvironment)).status,
  ],
  ['OpenAPI documents', async () => (await run('node', ['tools/scripts/check-openapi.mjs'])).status],
  ['links in documents', async () => (await run('node', ['tools/scripts/check-links.mjs'])).status],
];

const results = [];
for (const [name, step] of steps) {
  console.log(`\n› ${name}`);
  const startedMs = performance.now();
  const status = await step();
  results.push({ name, passed: status === 0, seconds: ((performance.now() - startedMs) / 1000).toFixed(1) });
}
console.log('');
for (const { name, passed, seconds } of results) {
  console.log(`${passed ? 'ok    ' : 'FAILED'}  ${name.padEnd(20)} ${seconds.padStart(6)} s`);
}
process.exitCode = results.every(({ passed }) => passed) ? 0 : 1;
