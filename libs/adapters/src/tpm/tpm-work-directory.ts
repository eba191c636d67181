import { hash, randomUUID } from 'node:crypto';
import { access, constants, mkdir, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** In memory, so that what passes through a file here never lies on the disk. */
const IN_MEMORY = '/dev/shm';

/** What earlier processes that worked for the same device left behind. */
export interface LeftWork {
  readonly directory: string;
  /** Removes it. */
  readonly discard: () => Promise<void>;
}

/**
 * Makes a directory for contexts, sessions, inputs and outputs of one process, in memory where the machine allows.
 *
 * @param owner - Whose work it is: the directory of the key files.
 * @returns The new directory, and those of processes that have died since.
 */
export async function openWorkDirectory(
  owner: string,
): Promise<{ readonly directory: string; readonly left: readonly LeftWork[] }> {
  const root = await access(IN_MEMORY, constants.W_OK).then(
    () => IN_MEMORY,
    () => tmpdir(),
  );
  const prefix = `azaion-tpm-${hash('sha256', owner).slice(0, 16)}-`;
  const left: LeftWork[] = [];
  for (const name of await readdir(root)) {
    const pid = name.startsWith(prefix) ? Number(name.slice(prefix.length).split('-')[0]) : NaN;
    if (!Number.isSafeInteger(pid) || isAlive(pid)) continue;
    const directory = join(root, name);
    left.push({ directory, discard: () => rm(directory, { recursive: true, force: true }) });
  }
  const directory = join(root, `${prefix}${String(process.pid)}-${randomUUID().slice(0, 8)}`);
  await mkdir(directory, { mode: 0o700 });
  return { directory, left };
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
