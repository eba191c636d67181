import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';

import { BundleReader, isBundlePath, MANIFEST_PATH, ResourceError } from '@azaion/split-resource';

import { systemCode } from '../file-store/index.js';

/** A bundle in a directory. Links are not followed: what it hands out lies in it. */
export class DirectoryBundle extends BundleReader {
  constructor(private readonly directory: string) {
    super();
  }

  override async read(path: string, maxBytes: number): Promise<Buffer> {
    const file = await open(this.pathOf(path), constants.O_RDONLY | constants.O_NOFOLLOW).catch((cause: unknown) => {
      throw isMissing(cause) ? missing(path) : cause;
    });
    try {
      const stats = await file.stat();
      if (!stats.isFile() || stats.size > maxBytes) throw missing(path);
      return await file.readFile();
    } finally {
      await file.close();
    }
  }

  override async digest(path: string): Promise<{ readonly sizeBytes: number; readonly sha256: string } | undefined> {
    const digest = createHash('sha256');
    let sizeBytes = 0;
    try {
      const file = await open(this.pathOf(path), constants.O_RDONLY | constants.O_NOFOLLOW);
      // The stream closes the file, also after an error.
      for await (const part of file.createReadStream({ highWaterMark: 256 * 1024 }) as AsyncIterable<Buffer>) {
        digest.update(part);
        sizeBytes += part.length;
      }
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
    return { sizeBytes, sha256: digest.digest('hex') };
  }

  private pathOf(path: string): string {
    if (path !== MANIFEST_PATH && !isBundlePath(path)) throw missing(path);
    return join(this.directory, path);
  }
}

function isMissing(error: unknown): boolean {
  return ['ENOENT', 'ENOTDIR', 'ELOOP', 'EISDIR'].includes(systemCode(error) ?? '');
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
