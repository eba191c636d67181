import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

import { DEMO_HELP, type DemoOptions, parseDemoOptions } from './demo/demo-options.js';
import { runDemo, type RunningDemo } from './demo/run-demo.js';

const USAGE = 2;
const INTERRUPTED = 130;
const workspace = resolve(dirname(fileURLToPath(import.meta.url)), '..', '..');

/** `npm start`: shows the whole system at work and stays up. See {@link DEMO_HELP}. */
async function main(): Promise<number> {
  let options: DemoOptions | undefined;
  try {
    options = parseDemoOptions(process.argv.slice(2), resolve(workspace, '.azaion', 'demo'));
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : ''}\n\n${DEMO_HELP}`);
    return USAGE;
  }
  if (options === undefined) {
    console.log(DEMO_HELP);
    return 0;
  }
  const say = options.json ? console.error : console.log;
  const stopping = new AbortController();
  const stopped = new Promise<void>((done) => {
    stopping.signal.addEventListener('abort', () => done());
  });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => stopping.abort());

  let demo: RunningDemo;
  try {
    demo = await runDemo(options, workspace, say, stopping.signal);
  } catch (error) {
    if (stopping.signal.aborted) return INTERRUPTED;
    say(`\nThe demo failed: ${error instanceof Error ? error.message : String(error)}`);
    if (options.json) console.log(JSON.stringify({ ok: false, error: error instanceof Error ? error.message : '' }));
    return 1;
  }
  try {
    const { report, guide } = demo;
    say(`\n${[report.table(), ...(options.exit ? [] : ['', ...guide])].join('\n')}`);
    if (options.json) console.log(JSON.stringify(report.json()));
    if (!options.exit) {
      say('\nRunning until Ctrl-C.');
      await Promise.race([stopped, demo.untilOneEnds()]);
    }
    return report.ok ? 0 : 1;
  } finally {
    say('Stopping …');
    await demo.stop();
  }
}

const status = await main().catch((error: unknown) => {
  console.error(`The demo failed: ${error instanceof Error ? error.message : String(error)}`);
  return 1;
});
process.exit(status); // a service that was still starting when another one failed must not keep this process
