/** Length of one window. */
export const WINDOW_BYTES = 32;
/** Windows with fewer different byte values say nothing: runs of zeros occur everywhere. */
const MIN_DISTINCT_BYTES = 12;
const MAX_WINDOWS = 4_000_000;
const HASHED_BYTES = 8;
const MAX_EXAMPLES = 8;
const { imul } = Math;

/** Where a piece of plaintext was found. */
export interface WindowHit {
  /** Index of the plaintext in the list that was indexed. */
  readonly plaintext: number;
  /** Offset in the plaintext. */
  readonly plaintextOffset: number;
  /** Offset in the searched bytes. */
  readonly foundOffset: number;
}

/** What a search came to. */
export interface WindowSearch {
  /** How many windows were found, counting each place. */
  readonly hits: number;
  /** Some of them. */
  readonly examples: readonly WindowHit[];
}

/**
 * Pieces of known plaintexts, indexed so that any amount of stored bytes can be searched for all of them at once, at every offset.
 * Any verbatim run of at least {@link PlaintextWindows.surelyFoundBytes} bytes of a plaintext that is not monotonous is found.
 */
export class PlaintextWindows {
  /** The shortest run of plaintext that cannot be missed. */
  readonly surelyFoundBytes: number;
  private readonly bits: number;
  private readonly filter: Uint32Array;
  private readonly slots: Int32Array;
  /** The whole hash of the window in each slot: most strangers are told by it without a look at the plaintext. */
  private readonly hashes: Uint32Array;
  private readonly sources: number[] = [];
  private readonly offsets: number[] = [];
  private readonly removed = new Set<number>();

  constructor(
    private readonly plaintexts: readonly Uint8Array[],
    maxWindows = MAX_WINDOWS,
  ) {
    const totalBytes = plaintexts.reduce((sum, { length }) => sum + length, 0);
    const strideBytes = Math.max(WINDOW_BYTES, Math.ceil(totalBytes / maxWindows));
    this.surelyFoundBytes = strideBytes + WINDOW_BYTES - 1;
    this.bits = Math.max(16, Math.ceil(Math.log2((totalBytes / strideBytes + 1) * 16)));
    this.filter = new Uint32Array(2 ** (this.bits - 5));
    this.slots = new Int32Array(2 ** (this.bits - 2));
    this.hashes = new Uint32Array(this.slots.length);
    plaintexts.forEach((plaintext, source) => {
      for (let offset = 0; offset + WINDOW_BYTES <= plaintext.length; offset += strideBytes)
        this.add(source, plaintext, offset);
    });
  }

  /** Windows that are searched for: different ones only. */
  get count(): number {
    return this.sources.length - this.removed.size;
  }

  /** Takes out what is public anyway, so that finding it proves nothing. @returns How many windows that were. */
  exclude(publicBytes: Uint8Array): number {
    const before = this.removed.size;
    this.scan(publicBytes, (window) => this.removed.add(window));
    return this.removed.size - before;
  }

  /** Searches bytes at every offset. */
  search(bytes: Uint8Array): WindowSearch {
    let hits = 0;
    const examples: WindowHit[] = [];
    this.scan(bytes, (window, foundOffset) => {
      hits += 1;
      if (examples.length < MAX_EXAMPLES)
        examples.push({
          plaintext: this.sources[window] ?? 0,
          plaintextOffset: this.offsets[window] ?? 0,
          foundOffset,
        });
    });
    return { hits, examples };
  }

  private add(source: number, plaintext: Uint8Array, offset: number): void {
    if (isMonotonous(plaintext, offset)) return;
    const view = new DataView(plaintext.buffer, plaintext.byteOffset);
    const hash = mix(view.getUint32(offset, true), view.getUint32(offset + 4, true));
    if (this.find(hash, plaintext, offset) !== -1) return;
    let slot = hash >>> (32 - this.bits + 2);
    while (this.slots[slot] !== 0) slot = (slot + 1) & (this.slots.length - 1);
    this.sources.push(source);
    this.offsets.push(offset);
    this.slots[slot] = this.sources.length;
    this.hashes[slot] = hash;
    const bit = hash >>> (32 - this.bits);
    this.filter[bit >>> 5] = (this.filter[bit >>> 5] ?? 0) | (1 << (bit & 31));
  }

  /** The window that stands at an offset of some bytes, or -1. */
  private find(hash: number, bytes: Uint8Array, offset: number): number {
    for (let slot = hash >>> (32 - this.bits + 2); ; slot = (slot + 1) & (this.slots.length - 1)) {
      const window = (this.slots[slot] ?? 0) - 1;
      if (window === -1) return -1;
      if (this.hashes[slot] === hash && this.equals(window, bytes, offset)) return window;
    }
  }

  private equals(window: number, bytes: Uint8Array, offset: number): boolean {
    const plaintext = this.plaintexts[this.sources[window] ?? 0];
    const from = this.offsets[window] ?? 0;
    if (plaintext === undefined || offset + WINDOW_BYTES > bytes.length) return false;
    for (let at = 0; at < WINDOW_BYTES; at += 1) if (plaintext[from + at] !== bytes[offset + at]) return false;
    return true;
  }

  /** One pass: a rolling view of eight bytes, a bit filter that most offsets fail, a comparison for the rest. */
  private scan(bytes: Uint8Array, found: (window: number, offset: number) => void): void {
    const { filter } = this;
    const shift = 32 - this.bits;
    let low = 0;
    let high = 0;
    for (let end = 0; end < bytes.length; end += 1) {
      low = (low >>> 8) | (high << 24);
      high = (high >>> 8) | ((bytes[end] ?? 0) << 24);
      if (end < HASHED_BYTES - 1) continue;
      const hash = mix(low, high);
      const bit = hash >>> shift;
      if (((filter[bit >>> 5] ?? 0) & (1 << (bit & 31))) === 0) continue;
      const offset = end - HASHED_BYTES + 1;
      const window = this.find(hash, bytes, offset);
      if (window !== -1 && !this.removed.has(window)) found(window, offset);
    }
  }
}

function mix(low: number, high: number): number {
  const mixed = imul(low, 0x9e37_79b1) ^ imul(high, 0x85eb_ca77);
  return imul(mixed ^ (mixed >>> 15), 0xc2b2_ae3d) >>> 0;
}

const lastSeenAt = new Int32Array(256);
let lookNumber = 0;

function isMonotonous(bytes: Uint8Array, offset: number): boolean {
  lookNumber += 1;
  let distinct = 0;
  for (let at = offset; at < offset + WINDOW_BYTES; at += 1) {
    const value = bytes[at] ?? 0;
    if (lastSeenAt[value] === lookNumber) continue;
    lastSeenAt[value] = lookNumber;
    distinct += 1;
    if (distinct >= MIN_DISTINCT_BYTES) return false;
  }
  return true;
}
