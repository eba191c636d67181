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
 * @param content - Verified plaintext in order; each piece is left alone until the one after the next is asked for.
 * @param onBytes - Called with the running total.
 * @param options - `durable: false` does not wait for the disk: after a power cut the file may be short.
 * @returns Bytes written.
 * @throws CliFailure exit `usage` when the place cannot be written to; whatever `content` throws; `ENOSPC` as it is.
 */
export function writeWholeFile(
  path: string,
  content: AsyncIterable<Uint8Array>,
  onBytes: (writtenBytes: number) => void = () => undefined,
  options: { readonly durable?: boolean } = {},
): Promise<number> {
  const fill = async (file: FileHandle): Promise<number> => {
    let writtenBytes = 0;
    // The content goes on to its next piece while one is being written.
    let writing = Promise.resolve();
    try {
      for await (const bytes of content) {
        await writing;
        onBytes(writtenBytes);
        writing = file.writeFile(bytes);
        writing.catch(() => undefined); // reported with the next piece, or at the end
        writtenBytes += bytes.length;
      }
    } catch (error) {
      await writing.catch(() => undefined); // nobody writes into a closed file
      throw error;
    }
    await writing;
    onBytes(writtenBytes);
    return writtenBytes;
  };
  return fillWholeFile(path, fill, options);
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
  { durable = true }: { readonly durable?: boolean } = {},
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
      if (durable) await file.sync();
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
