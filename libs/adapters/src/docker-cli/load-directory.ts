import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';

const PREFIX = 'azaion-load-';

/**
 * A directory for what a container CLI writes while it loads: plaintext that must not outlive the load, also when the CLI is killed.
 * Directories that a killed process left are taken away first.
 *
 * @param root - Best in memory. @throws Error of the file system.
 */
export async function withLoadDirectory<T>(root: string, work: (directory: string) => Promise<T>): Promise<T> {
  for (const name of await readdir(root)) {
    const pid = Number(new RegExp(`^${PREFIX}(\\d+)-`).exec(name)?.[1]);
    if (pid > 0 && !isAlive(pid)) await rm(join(root, name), { recursive: true, force: true });
  }
  const directory = await mkdtemp(join(root, `${PREFIX}${process.pid}-`));
  try {
    return await work(directory);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
