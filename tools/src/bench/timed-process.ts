import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { type FileHandle, open, rm } from 'node:fs/promises';
import { promisify } from 'node:util';

import { processTreeMemory } from '@azaion/testing';

const WATCH_INTERVAL_MS = 50;

/** A command whose whole process is timed. */
export interface TimedCommand {
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Standard output goes here; nowhere without it. */
  readonly outputPath?: string;
  /** A file that is removed before the clock starts: cutting an old gigabyte off takes as long as anything that is measured. */
  readonly removes?: string;
}

/**
 * Runs a command from start to end.
 *
 * @returns Seconds of wall time.
 * @throws Error when it does not end with status 0.
 */
export async function timeProcess(command: TimedCommand): Promise<number> {
  return runToEnd(command, () => undefined);
}

/**
 * Runs a command from start to end and watches its memory. That takes up to half a core: time is taken of other runs.
 *
 * @returns Largest resident size of the process and what it started, read every 50 ms (Linux; 0 elsewhere).
 * @throws Error when it does not end with status 0.
 */
export async function peakMemoryOf(command: TimedCommand): Promise<number> {
  let peakBytes = 0;
  let watching: NodeJS.Timeout | undefined;
  await runToEnd(command, (pid) => {
    watching = setInterval(() => {
      processTreeMemory(pid).then(
        (memory) => (peakBytes = Math.max(peakBytes, memory.peakBytes)),
        () => undefined, // it has just ended
      );
    }, WATCH_INTERVAL_MS);
  }).finally(() => clearInterval(watching));
  return peakBytes;
}

/** Runs a command and returns what it printed. @throws Error when it does not end with status 0. */
export async function outputOf({ command, args, env }: TimedCommand): Promise<string> {
  return (await promisify(execFile)(command, args, { env: { ...process.env, ...env } })).stdout;
}

async function runToEnd(
  { command, args, env, outputPath, removes }: TimedCommand,
  started: (pid: number) => void,
): Promise<number> {
  if (removes !== undefined) await rm(removes, { force: true });
  const output: FileHandle | undefined = outputPath === undefined ? undefined : await open(outputPath, 'w');
  const begin = performance.now();
  const child = spawn(command, args, {
    env: { ...process.env, ...env },
    stdio: ['ignore', output?.fd ?? 'ignore', 'pipe'],
  });
  if (child.pid !== undefined) started(child.pid);
  let errors = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (errors = (errors + text).slice(-2000)));
  const [status] = (await once(child, 'close')) as [number | null];
  const seconds = (performance.now() - begin) / 1000;
  await output?.close();
  if (status !== 0) throw new Error(`${command} ended with status ${String(status)}: ${errors}`);
  return seconds;
}

/**
 * Times several commands in turn, A B C A B C …, so that a machine whose speed drifts is unfair to none. One round that is not counted comes first.
 *
 * @returns Seconds of each counted round, by the command's key.
 */
export async function timeInTurn<Key extends string>(
  commands: ReadonlyMap<Key, TimedCommand>,
  rounds: number,
): Promise<ReadonlyMap<Key, readonly number[]>> {
  const seconds = new Map<Key, number[]>([...commands.keys()].map((key) => [key, []]));
  for (let round = 0; round <= rounds; round++) {
    for (const [key, command] of commands) {
      const taken = await timeProcess(command);
      if (round > 0) seconds.get(key)?.push(taken);
    }
  }
  return seconds;
}
