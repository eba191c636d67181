import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

import { SegmentStore } from '@azaion/split-resource';

import { systemCode } from './file-errors.js';
import { replaceDurably } from './replace-durably.js';

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
    await replaceDurably(this.pathOf(key), bytes);
  }

  private pathOf(key: string): string {
    const parts = key.split('/');
    if (parts.length > MAX_KEY_PARTS || !parts.every((part) => KEY_PART.test(part)))
      throw new RangeError('not a key of the segment store');
    return join(this.directory, ...parts);
  }
}
