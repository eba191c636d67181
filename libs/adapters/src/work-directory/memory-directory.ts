import { access, constants, statfs } from 'node:fs/promises';

/** Types of file systems that live in memory (statfs(2)). */
const IN_MEMORY: ReadonlySet<number> = new Set([0x0102_1994, 0x8584_58f6]); // tmpfs, ramfs
/** Where systems keep one for everybody. */
const MEMORY_ROOTS: readonly string[] = ['/dev/shm', '/run'];

/**
 * Finds a directory whose files never lie on a disk. Memory that is swapped does: encrypt the swap, or have none.
 *
 * @param roots - Looked at in order.
 * @returns `undefined` when none of them is in memory and writable.
 */
export async function memoryDirectory(roots: readonly string[] = MEMORY_ROOTS): Promise<string | undefined> {
  for (const root of roots) if (await isInMemory(root)) return root;
  return undefined;
}

async function isInMemory(path: string): Promise<boolean> {
  try {
    await access(path, constants.W_OK);
    return IN_MEMORY.has((await statfs(path)).type);
  } catch {
    return false;
  }
}
