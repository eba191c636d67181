import type { FileHandle } from 'node:fs/promises';

import { releaseBytes } from '@azaion/kernel';

/** Few writes for many pieces, and little that a sender could fill memory with: two of these. */
const BLOCK_BYTES = 512 * 1024;

/**
 * Writes pieces of any size one after another into a file, in blocks: one fills while the other is being written. The pieces are copied: whoever
 * has them may give their memory back at once.
 */
export class WriteBehind {
  private filling: Buffer;
  /** Taken once a block is full. */
  private other: Buffer | undefined;
  private filledBytes = 0;
  private writing: Promise<void> = Promise.resolve();

  /** @param expectedBytes - What comes at most; more is written too, in small blocks. */
  constructor(
    private readonly file: Pick<FileHandle, 'write'>,
    expectedBytes: number,
  ) {
    this.filling = Buffer.allocUnsafeSlow(Math.max(1, Math.min(BLOCK_BYTES, expectedBytes)));
  }

  /** Takes a piece; waits when both blocks are full. @throws the file system's error, also of an earlier write. */
  async write(piece: Uint8Array): Promise<void> {
    for (let at = 0; at < piece.length;) {
      const taken = piece.subarray(at, at + this.filling.length - this.filledBytes);
      this.filling.set(taken, this.filledBytes);
      this.filledBytes += taken.length;
      at += taken.length;
      if (this.filledBytes === this.filling.length) await this.next();
    }
  }

  /** Writes what is left; nothing may be written after it. @throws as {@link write}. */
  async end(): Promise<void> {
    await this.writing;
    await writeAll(this.file, this.filling.subarray(0, this.filledBytes));
    for (const block of [this.filling, this.other]) if (block !== undefined) releaseBytes(block);
  }

  private async next(): Promise<void> {
    await this.writing;
    this.writing = writeAll(this.file, this.filling);
    this.writing.catch(() => undefined); // whoever writes next, or ends, hears of it
    [this.filling, this.other] = [this.other ?? Buffer.allocUnsafeSlow(this.filling.length), this.filling];
    this.filledBytes = 0;
  }
}

async function writeAll(file: Pick<FileHandle, 'write'>, block: Buffer): Promise<void> {
  for (let at = 0; at < block.length;) at += (await file.write(block, at)).bytesWritten;
}
