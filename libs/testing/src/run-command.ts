import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const execute = promisify(execFile);

/**
 * Runs a command to its end.
 *
 * @param timeoutMs - After this it is killed.
 * @returns What it printed to standard output, at most 64 MiB.
 * @throws Error with what it printed to standard error when it does not end with status 0.
 */
export async function runCommand(command: string, args: readonly string[], timeoutMs = 120_000): Promise<string> {
  const { stdout } = await execute(command, args, { timeout: timeoutMs, maxBuffer: 64 * 1024 * 1024 });
  return stdout;
}
