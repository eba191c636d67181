import { type ByteRange, copyBytes } from '@azaion/kernel';

import type { Chunker } from '../chunker.js';
import { ResourceError } from '../errors.js';
import type { PlaintextSource } from '../ports/plaintext-source.js';
import { Turns } from '../turns.js';

/** Plaintext that is read, hashed and asked about at a time. */
export const WINDOW_BYTES = 8 * 1024 * 1024;

/** A piece of the plaintext in memory, cut into chunks. */
export interface PlaintextWindow {
  /** To be given back when nobody needs it any more: {@link PlaintextWindows.release}. */
  readonly memory: Uint8Array;
  /** Where the bytes lie that no window before had: what goes on over the end of a window is at the start of the next one again. */
  readonly fresh: ByteRange;
  /** Whole chunks, one after another from the start of the memory. */
  readonly chunks: readonly ByteRange[];
}

/** How a plaintext is read. */
export interface PlaintextLimits {
  /** Refuse anything longer with `resource.too-large`. */
  readonly maxBytes: number;
  /** Longest chunk; at most half of a window. */
  readonly maxChunkBytes: number;
  readonly signal: AbortSignal;
}

/** Reads a plaintext into windows that are used again and again, and cuts it there: no byte is moved to be cut. */
export class PlaintextWindows {
  /** Bytes read so far. */
  readBytes = 0;
  private readonly spare: Uint8Array[] = [];
  /** What goes on in the next window. */
  private readonly carried: Uint8Array;
  private carriedBytes = 0;

  /** @param allocate - Where windows come from, each {@link WINDOW_BYTES} long. */
  constructor(
    private readonly content: PlaintextSource,
    private readonly chunker: Chunker,
    private readonly allocate: (sizeBytes: number) => Uint8Array,
    private readonly limits: PlaintextLimits,
  ) {
    this.carried = new Uint8Array(limits.maxChunkBytes);
  }

  /** @returns The next window, `undefined` after the last. One call after the other. @throws ResourceError `resource.too-large`; what the content throws. */
  async next(): Promise<PlaintextWindow | undefined> {
    const memory = this.spare.pop() ?? this.allocate(WINDOW_BYTES);
    copyBytes(this.carried.subarray(0, this.carriedBytes), memory);
    const fresh = { start: this.carriedBytes, end: await this.fill(memory, this.carriedBytes) };
    if (fresh.end === 0) {
      this.spare.push(memory);
      return undefined;
    }
    const { chunks, cutBytes } = await this.cut(memory, fresh.end);
    this.carriedBytes = fresh.end - cutBytes;
    copyBytes(memory.subarray(cutBytes, fresh.end), this.carried);
    return { memory, fresh, chunks };
  }

  /** Takes a window's memory back. */
  release({ memory }: PlaintextWindow): void {
    this.spare.push(memory);
  }

  private async cut(
    memory: Uint8Array,
    end: number,
  ): Promise<{ readonly chunks: readonly ByteRange[]; readonly cutBytes: number }> {
    const turns = new Turns();
    const chunks: ByteRange[] = [];
    const isLast = end < memory.length;
    let start = 0;
    for (;;) {
      const border = this.chunker.endOf(memory, start, end) ?? (isLast && start < end ? end : undefined);
      if (border === undefined) return { chunks, cutBytes: start };
      chunks.push({ start, end: border });
      await turns.take(border - start);
      start = border;
    }
  }

  /** @returns Up to where the memory is filled: to its end, unless the content is at its end. */
  private async fill(memory: Uint8Array, from: number): Promise<number> {
    let filled = from;
    while (filled < memory.length) {
      const readBytes = await this.content.read(memory.subarray(filled));
      this.limits.signal.throwIfAborted();
      if (readBytes === 0) break;
      filled += readBytes;
      this.readBytes += readBytes;
      if (this.readBytes > this.limits.maxBytes) throw tooLarge(this.limits.maxBytes);
    }
    return filled;
  }
}

function tooLarge(maxBytes: number): ResourceError {
  return new ResourceError('resource.too-large', `The content is longer than the ${maxBytes} bytes that are allowed.`, {
    details: { maxBytes },
  });
}
