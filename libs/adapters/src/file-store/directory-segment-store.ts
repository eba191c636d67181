import { randomUUID } from 'node:crypto';
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';

import { SegmentStore } from '@azaion/split-resource';

import { orNoSpace, systemCode } from './file-errors.js';

const KEY_PART = /^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$/;
const MAX_KEY_PARTS = 4;

/** Keeps recipe parts and leases as files. An entry is replaced as a whole: after a crash it is the old one or the new one. */
export class DirectorySegmentStore extends SegmentStore {
  constructor(private readonly directory: string) {
    super();
  }

  override async read(key: string): Promise<Uint8Array | undefined> {
    try {
      return await readFile(this.pathOf(key));
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return undefined;
      throw error;
    }
  }

  override async write(key: string, bytes: Uint8Array): Promise<void> {
    const path = this.pathOf(key);
    const temporary = `${path}.${randomUUID()}.tmp`;
    try {
      await mkdir(dirname(path), { recursive: true, mode: 0o700 });
      const file = await open(temporary, 'wx', 0o600);
      try {
        await file.writeFile(bytes);
        await file.datasync();
      } finally {
        await file.close();
      }
      await rename(temporary, path);
    } catch (error) {
      await rm(temporary, { force: true });
      throw orNoSpace(error);
    }
  }

  private pathOf(key: string): string {
    const parts = key.split('/');
    if (parts.length > MAX_KEY_PARTS || !parts.every((part) => KEY_PART.test(part)))
      throw new RangeError('not a key of the segment store');
    return join(this.directory, ...parts);
  }
}
