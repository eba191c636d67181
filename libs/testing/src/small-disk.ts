import { runCommand } from './run-command.js';
import { type TempDirectory, tempDirectory } from './temp-directory.js';

/** Puts a disk of its own, in memory, at a directory, which has to be unmounted before it is removed. Root only. */
export async function mountSmallDisk(path: string, sizeBytes: number): Promise<void> {
  await runCommand('mount', ['-t', 'tmpfs', '-o', `size=${sizeBytes}`, 'tmpfs', path]);
}

/** A directory that is a disk of its own. Root only. */
export async function smallDisk(sizeBytes: number): Promise<TempDirectory> {
  const directory = await tempDirectory('azaion-disk');
  await mountSmallDisk(directory.path, sizeBytes);
  return {
    path: directory.path,
    remove: async () => {
      await runCommand('umount', ['--lazy', directory.path]);
      await directory.remove();
    },
  };
}
