import { UnlockError } from '@azaion/unlock';

import { memoryDirectory, openWorkDirectory } from '../work-directory/index.js';
import type { ArchiveCopy } from './engine-nature.js';

const PREFIX = 'azaion-load-';

/**
 * Gives a CLI a place in memory for its copy of the archive: plaintext that must not outlive the load, also when the CLI is killed. What
 * processes that were killed have left is taken away first.
 *
 * @param roots - Where to look for such a place; default: where systems have one.
 * @param load - Gets what the CLI must find in its environment.
 * @throws UnlockError `unlock.plaintext-on-disk` when the copy would lie on a disk.
 */
export async function withArchiveCopy<T>(
  copy: ArchiveCopy,
  roots: readonly string[] | undefined,
  load: (env: Readonly<Record<string, string>>) => Promise<T>,
): Promise<T> {
  if (copy === 'none') return load({});
  if (copy === 'by-a-service')
    throw new UnlockError(
      'unlock.plaintext-on-disk',
      "podman's service copies the decrypted archive onto a disk. Let the Loader start podman itself: CONTAINER_CLI=podman, without CONTAINER_HOST or DOCKER_HOST.",
    );
  const root = await memoryDirectory(roots);
  if (root === undefined)
    throw new UnlockError(
      'unlock.plaintext-on-disk',
      'podman copies the decrypted archive into a temporary file, and there is no writable directory in memory for it. Mount a tmpfs at /dev/shm that has room for the archive.',
    );
  const { directory, left, remove } = await openWorkDirectory(root, PREFIX);
  try {
    for (const { discard } of left) await discard();
    return await load({ TMPDIR: directory });
  } finally {
    await remove();
  }
}
