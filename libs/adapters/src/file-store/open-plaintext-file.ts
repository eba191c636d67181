import type { FileHandle } from 'node:fs/promises';

import { PlaintextFile } from '@azaion/split-resource';

/** A file of this machine that was opened for writing. Whoever opened it closes it, once it is unused. */
export class OpenPlaintextFile extends PlaintextFile {
  constructor(private readonly file: FileHandle) {
    super();
  }

  override get descriptor(): number {
    return this.file.fd;
  }

  override async write(bytes: Uint8Array, position: number): Promise<void> {
    for (let written = 0; written < bytes.length;) {
      const { bytesWritten } = await this.file.write(bytes, written, bytes.length - written, position + written);
      written += bytesWritten;
    }
  }
}
