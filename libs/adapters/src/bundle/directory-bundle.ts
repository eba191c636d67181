import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, lstat, open } from 'node:fs/promises';
import { join } from 'node:path';

import { BundleReader, isBundlePath, MANIFEST_PATH, ResourceError } from '@azaion/split-resource';

import { systemCode } from '../file-store/index.js';

/** Longest file that a bundle may hold; longer than any that this product writes. */
export const MAX_BUNDLED_FILE_BYTES = 64 * 1024 * 1024;
// Without waiting: opening a named pipe would otherwise last until somebody writes into it.
const PLAIN = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/**
 * A bundle in a directory that somebody has carried here. Whatever lies in it, only plain files in plain directories are read: a link at any
 * level, a named pipe, a device or a socket is refused, and reading never waits for anybody.
 */
export class DirectoryBundle extends BundleReader {
  constructor(private readonly directory: string) {
    super();
  }

  override async read(path: string, maxBytes: number): Promise<Buffer> {
    const file = await this.open(path);
    if (file === undefined) throw missing(path);
    try {
      const { size } = await file.stat();
      if (size > maxBytes) throw missing(path);
      return await file.readFile();
    } finally {
      await file.close();
    }
  }

  override async digest(path: string): Promise<{ readonly sizeBytes: number; readonly sha256: string } | undefined> {
    const file = await this.open(path);
    if (file === undefined) return undefined;
    const digest = createHash('sha256');
    let sizeBytes = 0;
    // The stream closes the file, also after an error.
    for await (const part of file.createReadStream({ highWaterMark: 256 * 1024 }) as AsyncIterable<Buffer>) {
      digest.update(part);
      sizeBytes += part.length;
    }
    return { sizeBytes, sha256: digest.digest('hex') };
  }

  /**
   * Opens one of its files, for whoever closes it again.
   *
   * @returns `undefined` when it is not there.
   * @throws ResourceError `bundle.invalid` when it is no plain file in plain directories, or longer than {@link MAX_BUNDLED_FILE_BYTES}.
   */
  async open(path: string): Promise<FileHandle | undefined> {
    if (path !== MANIFEST_PATH && !isBundlePath(path)) throw missing(path);
    try {
      const parts = path.split('/');
      for (let depth = 1; depth < parts.length; depth++)
        if (!(await lstat(join(this.directory, ...parts.slice(0, depth)))).isDirectory()) throw notPlain(path);
      const file = await open(join(this.directory, path), PLAIN);
      const stats = await file.stat();
      if (stats.isFile() && stats.size <= MAX_BUNDLED_FILE_BYTES) return file;
      await file.close();
      throw notPlain(path);
    } catch (error) {
      const code = systemCode(error) ?? '';
      if (['ENOENT', 'ENOTDIR'].includes(code)) return undefined;
      // Of a link; of a socket.
      if (['ELOOP', 'ENXIO'].includes(code)) throw notPlain(path);
      throw error;
    }
  }
}

function missing(path: string): ResourceError {
  return new ResourceError(
    'bundle.invalid',
    `The bundle lacks ${path.slice(0, 200)}, or it is not what it should be.`,
    {
      details: { path: path.slice(0, 200) },
    },
  );
}

function notPlain(path: string): ResourceError {
  return new ResourceError(
    'bundle.invalid',
    `${path.slice(0, 200)} in the bundle is no plain file in plain directories: links and special files are refused.`,
    { details: { path: path.slice(0, 200) } },
  );
}
