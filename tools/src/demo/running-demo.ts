import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

const PID_FILE = 'demo.pid';

/**
 * Refuses a directory in which a demo is running: a second one would take its database over.
 *
 * @throws Error that names the process.
 */
export async function assertNotRunning(directory: string): Promise<void> {
  const pid = Number(await readFile(join(directory, PID_FILE), 'utf8').catch(() => ''));
  if (!Number.isSafeInteger(pid) || pid <= 0 || pid === process.pid || !isAlive(pid)) return;
  throw new Error(
    `A demo runs on this data already (process ${pid}): use it, stop it with Ctrl-C, or choose another directory with --data.`,
  );
}

/**
 * Notes that this process runs the demo there.
 *
 * @returns What takes the note away at the end.
 */
export async function noteRunning(directory: string): Promise<() => Promise<void>> {
  const path = join(directory, PID_FILE);
  await writeFile(path, String(process.pid));
  return () => rm(path, { force: true });
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
