import { readFile } from 'node:fs/promises';

import { runCommandLine } from './program.js';

/** Runs `azaion` with this process's arguments and streams; called by `main.ts` once the Node version is known to be right. */
export async function run(): Promise<void> {
  const stopping = new AbortController();
  const stop = (): void => stopping.abort();
  process.once('SIGINT', stop);
  process.once('SIGTERM', stop);
  const manifest = JSON.parse(await readFile(new URL('../package.json', import.meta.url), 'utf8')) as {
    version: string;
  };
  process.exitCode = await runCommandLine(process.argv.slice(2), {
    stdout: process.stdout,
    stderr: process.stderr,
    stdin: process.stdin,
    env: process.env,
    version: manifest.version,
    signal: stopping.signal,
  });
  process.removeListener('SIGINT', stop);
  process.removeListener('SIGTERM', stop);
}
