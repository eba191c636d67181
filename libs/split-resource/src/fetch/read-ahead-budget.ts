/** Sealed bytes that all reads of a device hold together, apart from the range that each is handing out. */
const READ_AHEAD_BYTES = 24 * 1024 * 1024;

/** Memory for reading ahead, shared by every read in progress: many slow clients must not hold many times as much as one. */
export class ReadAheadBudget {
  private heldBytes = 0;
  private reads = 0;

  constructor(private readonly limitBytes = READ_AHEAD_BYTES) {}

  /** Begins a read. Leave when it ends. */
  join(): ReadAheadShare {
    this.reads++;
    let ownBytes = 0;
    const change = (bytes: number): void => {
      ownBytes += bytes;
      this.heldBytes += bytes;
    };
    return {
      take: (bytes) => {
        const fits = this.heldBytes + bytes <= this.limitBytes && ownBytes + bytes <= this.limitBytes / this.reads;
        if (ownBytes > 0 && !fits) return false;
        change(bytes);
        return true;
      },
      giveBack: (bytes) => change(-bytes),
      leave: () => {
        change(-ownBytes);
        this.reads--;
      },
    };
  }
}

/** One read's part of a {@link ReadAheadBudget}. */
export interface ReadAheadShare {
  /** Takes bytes if they may be held now. A read that holds nothing may always hold one range: it would not go on otherwise. */
  readonly take: (bytes: number) => boolean;
  /** Gives back what a range took. */
  readonly giveBack: (bytes: number) => void;
  /** Gives everything back. Once, at the end. */
  readonly leave: () => void;
}
