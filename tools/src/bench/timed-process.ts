import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { type FileHandle, open } from 'node:fs/promises';

/** A command whose whole process is timed. */
export interface TimedCommand {
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Standard output goes here; nowhere without it. */
  readonly outputPath?: string;
}

/**
 * Runs a command from start to end.
 *
 * @returns Seconds of wall time.
 * @throws Error when it does not end with status 0.
 */
export async function timeProcess({ command, args, env, outputPath }: TimedCommand): Promise<number> {
  const output: FileHandle | undefined = outputPath === undefined ? undefined : await open(outputPath, 'w');
  const begin = performance.now();
  const child = spawn(command, args, {
    env: { ...process.env, ...env },
    stdio: ['ignore', output?.fd ?? 'ignore', 'pipe'],
  });
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
