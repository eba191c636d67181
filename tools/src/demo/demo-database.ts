import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

import { embeddedPostgresHome } from '@azaion/adapters/split-evidence';

const STOP_PATIENCE_MS = 10_000;

/**
 * Stops a database server that its Admin API left running because it was killed.
 *
 * @param adminData - The Admin API's data directory; it must not be running any more.
 */
export async function stopLeftoverPostgres(adminData: string): Promise<void> {
  const pidFile = join(await embeddedPostgresHome(adminData), 'cluster', 'postmaster.pid');
  const pid = Number((await readText(pidFile))?.split('\n')[0]);
  if (!Number.isSafeInteger(pid) || pid <= 1 || !isRunning(pid)) return;
  process.kill(pid, 'SIGINT'); // PostgreSQL's "fast shutdown"
  const deadlineMs = performance.now() + STOP_PATIENCE_MS;
  while (isRunning(pid) && performance.now() < deadlineMs) await delay(50);
}

async function readText(path: string): Promise<string | undefined> {
  return readFile(path, 'utf8').then(
    (text) => text.trim(),
    () => undefined,
  );
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
