import type { Readable } from 'node:stream';

import { copyBytes } from '@azaion/kernel';

/** Where the plaintext of a publish is read from: once, front to back. */
export abstract class PlaintextSource {
  /**
   * Reads the next bytes straight into memory. One call after the other.
   *
   * @param target - At least one byte; memory that several threads see.
   * @returns How many bytes were put to its start, 0 at the end.
   * @throws What the source has.
   */
  abstract read(target: Uint8Array): Promise<number>;
  /** Ends it, in the middle too. Never rejects. */
  abstract close(): Promise<void>;
}

/** Reads from a stream, which costs a copy. */
export class StreamPlaintext extends PlaintextSource {
  private readonly pieces: AsyncIterator<Uint8Array>;
  private piece: Uint8Array = new Uint8Array(0);

  /** @param content - Destroyed by {@link close}. */
  constructor(private readonly content: Readable) {
    super();
    this.pieces = (content as AsyncIterable<Uint8Array>)[Symbol.asyncIterator]();
  }

  override async read(target: Uint8Array): Promise<number> {
    while (this.piece.length === 0) {
      const next = await this.pieces.next();
      if (next.done === true) return 0;
      this.piece = next.value;
    }
    const taken = this.piece.subarray(0, target.length);
    copyBytes(taken, target);
    this.piece = this.piece.subarray(taken.length);
    return taken.length;
  }

  override close(): Promise<void> {
    this.content.destroy();
    return Promise.resolve();
  }
}
