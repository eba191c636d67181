/** Numbers that bounds are made of. */
const EDGES = [0, 1, 0x7f, 0x80, 0xff];

/** Repeatable randomness: the same seed gives the same cases on every machine (xorshift32). */
export class Dice {
  private state: number;

  /** @param seed - Any integer. */
  constructor(seed: number) {
    this.state = seed >>> 0 || 1;
  }

  /** An integer from 0 to `bound - 1`. */
  below(bound: number): number {
    this.state ^= this.state << 13;
    this.state ^= this.state >>> 17;
    this.state ^= this.state << 5;
    return (this.state >>> 0) % Math.max(1, bound);
  }

  /** One of a list that is not empty. */
  of<T>(list: readonly T[]): T {
    const chosen = list[this.below(list.length)];
    if (chosen === undefined) throw new RangeError('nothing to choose from');
    return chosen;
  }
}

type Mutation = (bytes: Buffer, dice: Dice, other: Buffer) => Buffer;

const MUTATIONS: readonly Mutation[] = [
  (bytes, dice) => withByte(bytes, dice.below(bytes.length), (byte) => byte ^ (1 << dice.below(8))),
  (bytes, dice) => withByte(bytes, dice.below(bytes.length), () => dice.below(256)),
  (bytes, dice) => withByte(bytes, dice.below(bytes.length), () => dice.of(EDGES)),
  (bytes, dice) => bytes.subarray(0, dice.below(bytes.length + 1)),
  (bytes, dice) => bytes.subarray(dice.below(bytes.length + 1)),
  (bytes, dice) => spliced(bytes, dice.below(bytes.length + 1), 0, randomBytes(dice, 1 + dice.below(16))),
  (bytes, dice) => spliced(bytes, dice.below(bytes.length + 1), 1 + dice.below(16), Buffer.alloc(0)),
  (bytes, dice) => {
    const from = dice.below(bytes.length + 1);
    return spliced(bytes, dice.below(bytes.length + 1), 0, bytes.subarray(from, from + 1 + dice.below(64)));
  },
  (bytes, dice, other) => {
    const from = dice.below(other.length + 1);
    return spliced(
      bytes,
      dice.below(bytes.length + 1),
      dice.below(32),
      other.subarray(from, from + 1 + dice.below(64)),
    );
  },
  (bytes, dice) => {
    const size = dice.of([2, 4, 8]);
    const at = dice.below(Math.max(1, bytes.length - size));
    return spliced(bytes, at, size, Buffer.alloc(size, dice.of(EDGES)));
  },
];

/** A seed changed in one to four ways. */
export function mutate(seeds: readonly Buffer[], dice: Dice): Buffer {
  let bytes: Buffer = Buffer.from(dice.of(seeds));
  for (let turns = 1 + dice.below(4); turns > 0; turns -= 1) bytes = dice.of(MUTATIONS)(bytes, dice, dice.of(seeds));
  return Buffer.from(bytes);
}

function withByte(bytes: Buffer, at: number, change: (byte: number) => number): Buffer {
  const copy = Buffer.from(bytes);
  const byte = copy[at];
  if (byte !== undefined) copy[at] = change(byte);
  return copy;
}

function spliced(bytes: Buffer, at: number, removed: number, added: Uint8Array): Buffer {
  return Buffer.concat([bytes.subarray(0, at), added, bytes.subarray(at + removed)]);
}

function randomBytes(dice: Dice, size: number): Buffer {
  return Buffer.from(Array.from({ length: size }, () => dice.below(256)));
}
