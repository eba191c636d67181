import { type FileHandle, open, rename, rm, stat } from 'node:fs/promises';

import { usageFailure } from './cli-failure.js';
import { systemErrorCode } from './failure-table.js';

/** The name content is written under until it is complete. */
export function partialPath(path: string): string {
  return `${path}.partial`;
}

/** What was said when a file could not be made, in words where the place is the reason. */
export function unwritable(path: string, error: unknown): unknown {
  if (['ENOENT', 'EACCES', 'EISDIR', 'ENOTDIR', 'EROFS', 'EPERM'].includes(systemErrorCode(error) ?? ''))
    return usageFailure(`The file ${path} cannot be written.`, 'Choose another place with -o.');
  return error;
}

/**
 * Writes a file that appears under its name only once it is complete and on the disk. When anything fails, an existing file of that name is
 * untouched and the partial one is removed.
 *
 * @param content - Verified plaintext in order.
 * @param onBytes - Called with the running total.
 * @returns Bytes written.
 * @throws CliFailure exit `usage` when the place cannot be written to; whatever `content` throws; `ENOSPC` as it is.
 */
export function writeWholeFile(
  path: string,
  content: AsyncIterable<Uint8Array>,
  onBytes: (writtenBytes: number) => void = () => undefined,
): Promise<number> {
  return fillWholeFile(path, async (file) => {
    let writtenBytes = 0;
    for await (const bytes of content) {
      await file.writeFile(bytes);
      writtenBytes += bytes.length;
      onBytes(writtenBytes);
    }
    return writtenBytes;
  });
}

/**
 * Like {@link writeWholeFile}, for content that is written out of order.
 *
 * @param fill - Writes everything; nobody writes into the file any more when it settles.
 * @returns What `fill` does.
 * @throws As {@link writeWholeFile}.
 */
export async function fillWholeFile<Result>(
  path: string,
  fill: (file: FileHandle) => Promise<Result>,
): Promise<Result> {
  // Asked before the transfer: the rename at its end would fail.
  if ((await stat(path).catch(() => undefined))?.isDirectory() === true)
    throw usageFailure(`${path} is a directory.`, 'Name a file with -o.');
  const partial = partialPath(path);
  const file = await open(partial, 'w', 0o600).catch((error: unknown) => {
    throw unwritable(path, error);
  });
  try {
    let result: Result;
    try {
      result = await fill(file);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(partial, path);
    return result;
  } catch (error) {
    await rm(partial, { force: true });
    throw error;
  }
}
