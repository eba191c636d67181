import type { FileHandle } from 'node:fs/promises';

import { PlaintextSource } from '@azaion/split-resource';

/** A file of this machine that was opened for reading, from where it stands. */
export class FilePlaintext extends PlaintextSource {
  /** @param file - Closed by {@link close}. */
  constructor(private readonly file: FileHandle) {
    super();
  }

  override async read(target: Uint8Array): Promise<number> {
    return (await this.file.read(target, 0, target.length, null)).bytesRead;
  }

  override async close(): Promise<void> {
    await this.file.close().catch(() => undefined); // nothing was written
  }
}
