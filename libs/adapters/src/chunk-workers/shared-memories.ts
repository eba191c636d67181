/** What is kept for the next publish: about what one uses on eight threads. */
const MAX_SPARE_BYTES = 256 * 1024 * 1024;

interface Use {
  tasks: number;
  released: boolean;
}

/**
 * Memory that threads share, given out again and again. JavaScript gives such memory back only when no thread has a trace of it left, and
 * does not count it when it decides how often to look: without this, publish after publish would leave its memory behind.
 */
export class SharedMemories {
  private readonly spare = new Map<number, Uint8Array[]>();
  private readonly uses = new WeakMap<ArrayBufferLike, Use>();
  private spareBytes = 0;

  /** @param maxSpareBytes - What is kept to be given out again; memory beyond is left to the collection. */
  constructor(private readonly maxSpareBytes = MAX_SPARE_BYTES) {}

  /** @returns Memory that nobody uses, with whatever content. */
  allocate(sizeBytes: number): Uint8Array {
    const spare = this.spare.get(sizeBytes)?.pop();
    if (spare !== undefined) this.spareBytes -= sizeBytes;
    const memory = spare ?? new Uint8Array(new SharedArrayBuffer(sizeBytes));
    this.uses.set(memory.buffer, { tasks: 0, released: false });
    return memory;
  }

  /** Takes memory back; tasks that are at it still are waited for. */
  release(memory: Uint8Array): void {
    const use = this.useOf(memory);
    use.released = true;
    if (use.tasks === 0) this.takeBack(memory);
  }

  /** Keeps memory from being given out again while a task is at it. @throws TypeError for memory that was not allocated here. */
  async during<Result>(memories: readonly Uint8Array[], task: () => Promise<Result>): Promise<Result> {
    const uses = memories.map((memory) => this.useOf(memory));
    for (const use of uses) use.tasks++;
    try {
      return await task();
    } finally {
      for (const [index, use] of uses.entries())
        if (--use.tasks === 0 && use.released) this.takeBack(memories[index] as Uint8Array);
    }
  }

  private useOf(memory: Uint8Array): Use {
    const use = this.uses.get(memory.buffer);
    if (use === undefined) throw new TypeError('not memory of this sealer');
    return use;
  }

  private takeBack({ buffer }: Uint8Array): void {
    if (!this.uses.delete(buffer)) return;
    if (this.spareBytes + buffer.byteLength > this.maxSpareBytes) return;
    this.spareBytes += buffer.byteLength;
    const whole = new Uint8Array(buffer);
    this.spare.set(whole.length, [...(this.spare.get(whole.length) ?? []), whole]);
  }
}
