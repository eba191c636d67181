const COUNT_AT = 0;
const LENGTH_AT = 1;
const HEADER_BYTES = 8;
/** Longer cases are remembered by their beginning. */
const MAX_CASE_BYTES = 1024 ** 2;

/** Which case a thread is at, in memory that another thread can read while the first one hangs. */
export class CaseLog {
  private readonly numbers: Int32Array;
  private readonly bytes: Uint8Array;

  /** @param memory - Of another thread's log; without it there is new memory. */
  constructor(readonly memory: SharedArrayBuffer = new SharedArrayBuffer(HEADER_BYTES + MAX_CASE_BYTES)) {
    this.numbers = new Int32Array(memory, 0, 2);
    this.bytes = new Uint8Array(memory, HEADER_BYTES);
  }

  /** Cases that were begun. */
  get count(): number {
    return Atomics.load(this.numbers, COUNT_AT);
  }

  /** The case that was begun last. */
  get current(): Buffer {
    return Buffer.from(this.bytes.slice(0, Atomics.load(this.numbers, LENGTH_AT)));
  }

  /** Notes that a case begins. */
  begin(bytes: Uint8Array): void {
    const kept = bytes.subarray(0, MAX_CASE_BYTES);
    this.bytes.set(kept);
    Atomics.store(this.numbers, LENGTH_AT, kept.length);
    Atomics.add(this.numbers, COUNT_AT, 1);
  }
}
