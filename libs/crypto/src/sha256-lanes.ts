import { hash } from 'node:crypto';

import { type Sha256Kernel, startSha256Kernel } from './sha256-kernel.js';

/** One message in the memory of {@link Sha256Lanes}. */
export interface LaneMessage {
  /** First byte. */
  readonly at: number;
  readonly sizeBytes: number;
}

const LANES = 4;
const BLOCK_BYTES = 64;
const DIGEST_BYTES = 32;
/** Padding and length of a message: behind its last whole block at most so many blocks. */
const MAX_TAIL_BLOCKS = 2;
const WORDS = 8;
/** FIPS 180-4 §5.3.3. */
const INITIAL = Uint32Array.of(
  0x6a09e667,
  0xbb67ae85,
  0x3c6ef372,
  0xa54ff53a,
  0x510e527f,
  0x9b05688c,
  0x1f83d9ab,
  0x5be0cd19,
);
/** What is hashed to find out which way is faster here, and how often. */
const TRIAL_BYTES = 64 * 1024;
const TRIALS = 8;
/** The lanes must be faster by this much: they cost memory and a module. */
const WORTHWHILE = 1.15;

/** A message that a lane is at. */
interface LaneWork {
  /** Which of the messages. */
  message: number;
  /** Next block: its address, and how many follow each other there. */
  at: number;
  blocks: number;
  /** Whether what follows the whole blocks, with the padding, has begun. */
  inTail: boolean;
}

/**
 * SHA-256 (FIPS 180-4) of four messages at a time. One message is a chain that keeps a core waiting; four independent ones fill it, which is
 * half as fast again as Node's own where the processor has no instructions for SHA-256. Where it has, Node's own is several times faster:
 * {@link worthwhile} measures.
 */
export class Sha256Lanes {
  /** Where messages are put. */
  readonly memory: Uint8Array;
  private readonly state: Uint32Array;
  private readonly tails: Uint8Array;
  private readonly work: LaneWork[];

  private constructor(private readonly kernel: Sha256Kernel) {
    const { buffer } = kernel.memory;
    this.memory = new Uint8Array(buffer, kernel.freeAt + LANES * MAX_TAIL_BLOCKS * BLOCK_BYTES);
    this.state = new Uint32Array(buffer, kernel.stateAt, WORDS * LANES);
    this.tails = new Uint8Array(buffer, kernel.freeAt, LANES * MAX_TAIL_BLOCKS * BLOCK_BYTES);
    this.work = Array.from({ length: LANES }, () => ({ message: -1, at: kernel.freeAt, blocks: 0, inTail: false }));
  }

  /** @param capacityBytes - Room for messages, at least. */
  static start(capacityBytes: number): Sha256Lanes {
    return new Sha256Lanes(startSha256Kernel(capacityBytes + LANES * MAX_TAIL_BLOCKS * BLOCK_BYTES));
  }

  /**
   * Lanes where they are faster on this machine than Node's own SHA-256 and agree with it; else `undefined`. Takes some milliseconds.
   *
   * @param capacityBytes - Room for messages, at least as much as for the trial of 256 KiB.
   */
  static worthwhile(capacityBytes: number): Sha256Lanes | undefined {
    const lanes = Sha256Lanes.start(Math.max(capacityBytes, LANES * TRIAL_BYTES));
    const messages = Array.from({ length: LANES }, (_, lane) => ({ at: lane * TRIAL_BYTES, sizeBytes: TRIAL_BYTES }));
    const trial = lanes.memory.subarray(0, LANES * TRIAL_BYTES);
    trial.forEach((_, index) => (trial[index] = Math.imul(index, 0x9e37_79b1) >>> 24));
    const natively = (): Buffer[] =>
      messages.map(({ at, sizeBytes }) => hash('sha256', lanes.memory.subarray(at, at + sizeBytes), 'buffer'));
    const own = lanes.hash(messages);
    if (natively().some((digest, index) => own[index]?.equals(digest) !== true)) return undefined;
    const nativeMs = quickest(natively);
    return quickest(() => lanes.hash(messages)) * WORTHWHILE < nativeMs ? lanes : undefined;
  }

  /** @param messages - Inside of {@link memory}; each empty or not. @returns Their digests, in the same order. */
  hash(messages: readonly LaneMessage[]): Buffer[] {
    const digests = messages.map(() => Buffer.allocUnsafe(DIGEST_BYTES));
    // The long ones first: what is left for the end is short then, and no lane waits long for another.
    const order = messages.map((_, index) => index).sort((a, b) => sizeOf(messages, b) - sizeOf(messages, a));
    let next = 0;
    const begin = (lane: number): boolean => {
      const message = order[next];
      const work = this.work[lane];
      if (work === undefined) return false;
      work.message = -1;
      if (message === undefined) return false;
      next++;
      this.begin(lane, work, message, messages);
      return true;
    };
    let busy = 0;
    for (let lane = 0; lane < LANES; lane++) if (begin(lane)) busy++;
    while (busy > 0) {
      this.advance();
      for (const [lane, work] of this.work.entries()) {
        if (work.message < 0 || work.blocks > 0) continue;
        if (!work.inTail) {
          this.enterTail(lane, work, messages);
          continue;
        }
        this.digest(lane, digests[work.message]);
        if (!begin(lane)) busy--;
      }
    }
    return digests;
  }

  private begin(lane: number, work: LaneWork, message: number, messages: readonly LaneMessage[]): void {
    const { at, sizeBytes } = messages[message] ?? { at: 0, sizeBytes: 0 };
    for (let word = 0; word < WORDS; word++) this.state[word * LANES + lane] = INITIAL[word] ?? 0;
    work.message = message;
    work.at = this.memory.byteOffset + at;
    work.blocks = Math.floor(sizeBytes / BLOCK_BYTES);
    work.inTail = false;
    if (work.blocks === 0) this.enterTail(lane, work, messages);
  }

  /** FIPS 180-4 §5.1.1. */
  private enterTail(lane: number, work: LaneWork, messages: readonly LaneMessage[]): void {
    const { at, sizeBytes } = messages[work.message] ?? { at: 0, sizeBytes: 0 };
    const rest = sizeBytes % BLOCK_BYTES;
    const tailAt = lane * MAX_TAIL_BLOCKS * BLOCK_BYTES;
    const blocks = rest < BLOCK_BYTES - 8 ? 1 : 2;
    const tail = this.tails.subarray(tailAt, tailAt + blocks * BLOCK_BYTES);
    tail.fill(0);
    tail.set(this.memory.subarray(at + sizeBytes - rest, at + sizeBytes));
    tail[rest] = 0x80;
    const view = new DataView(tail.buffer, tail.byteOffset, tail.length);
    view.setBigUint64(tail.length - 8, BigInt(sizeBytes) * 8n);
    work.at = tail.byteOffset;
    work.blocks = blocks;
    work.inTail = true;
  }

  /** As many blocks as every busy lane has. Idle lanes go along and hash something that nobody looks at. */
  private advance(): void {
    let blocks = Infinity;
    for (const work of this.work) if (work.message >= 0) blocks = Math.min(blocks, work.blocks);
    const first = this.work.find(({ message }) => message >= 0)?.at ?? this.memory.byteOffset;
    const [a = first, b = first, c = first, d = first] = this.work.map(({ message, at }) => (message < 0 ? first : at));
    this.kernel.blocks(a, b, c, d, blocks);
    for (const work of this.work) {
      work.at += blocks * BLOCK_BYTES;
      work.blocks -= blocks;
    }
  }

  private digest(lane: number, into: Buffer | undefined): void {
    for (let word = 0; word < WORDS; word++) into?.writeUInt32BE(this.state[word * LANES + lane] ?? 0, 4 * word);
  }
}

function sizeOf(messages: readonly LaneMessage[], index: number): number {
  return messages[index]?.sizeBytes ?? 0;
}

function quickest(work: () => unknown): number {
  let bestMs = Infinity;
  for (let trial = 0; trial < TRIALS; trial++) {
    const begin = performance.now();
    work();
    bestMs = Math.min(bestMs, performance.now() - begin);
  }
  return bestMs;
}
