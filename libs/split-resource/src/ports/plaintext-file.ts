/** A file that verified plaintext is written into, at any place and in any order. */
export abstract class PlaintextFile {
  private readonly uses = new Set<Promise<unknown>>();

  /** What the operating system knows the open file by: every thread of this process may write through it. */
  abstract readonly descriptor: number;

  /**
   * Writes all bytes at a position, which may lie behind the end.
   *
   * @throws Error of the system, such as `ENOSPC`.
   */
  abstract write(bytes: Uint8Array, position: number): Promise<void>;

  /** Notes work that writes through the descriptor elsewhere, until it settles. */
  usedBy(work: Promise<unknown>): void {
    const use = work.then(
      () => undefined,
      () => undefined, // whoever asked for the work hears of it
    );
    this.uses.add(use);
    void use.then(() => this.uses.delete(use));
  }

  /** Resolves when nobody uses the descriptor any more. To be awaited before the file is closed: its number soon stands for another one. */
  async unused(): Promise<void> {
    while (this.uses.size > 0) await Promise.all(this.uses);
  }
}
