import { CHUNK_ID_BYTES } from '@azaion/crypto';

/** Where a chunk of the resource that is being published lies. */
export interface ChunkPosition {
  readonly packIndex: number;
  readonly offset: number;
  readonly sealedBytes: number;
}

const WORDS = 7; // id (4), pack index + 1, offset, sealed length
const INITIAL_SLOTS = 1024;

/** Finds repeated chunks inside one resource: 28 bytes a slot in one array, because a large resource has a million of them. */
export class ChunkIndex {
  private slots = INITIAL_SLOTS;
  private table = new Uint32Array(INITIAL_SLOTS * WORDS);
  private used = 0;

  /** @param id - 16 bytes. */
  find(id: Uint8Array): ChunkPosition | undefined {
    const at = this.slotOf(wordsOf(id));
    const packIndexPlusOne = this.table[at + 4] as number;
    if (packIndexPlusOne === 0) return undefined;
    return {
      packIndex: packIndexPlusOne - 1,
      offset: this.table[at + 5] as number,
      sealedBytes: this.table[at + 6] as number,
    };
  }

  /** Remembers a chunk that {@link find} does not know. */
  add(id: Uint8Array, position: ChunkPosition): void {
    if (this.used * 4 >= this.slots * 3) this.grow();
    this.insert(wordsOf(id), position.packIndex + 1, position.offset, position.sealedBytes);
  }

  private insert(words: readonly number[], packIndexPlusOne: number, offset: number, sealedBytes: number): void {
    this.table.set([...words, packIndexPlusOne, offset, sealedBytes], this.slotOf(words));
    this.used++;
  }

  // Ids are outputs of a MAC under a secret: their first word spreads evenly, whoever chose the content.
  private slotOf(words: readonly number[]): number {
    let slot = (words[0] as number) & (this.slots - 1);
    for (;;) {
      const at = slot * WORDS;
      if (this.table[at + 4] === 0 || words.every((word, index) => this.table[at + index] === word)) return at;
      slot = (slot + 1) & (this.slots - 1);
    }
  }

  private grow(): void {
    const old = this.table;
    this.slots *= 2;
    this.table = new Uint32Array(this.slots * WORDS);
    this.used = 0;
    for (let at = 0; at < old.length; at += WORDS) {
      const [a, b, c, d, packIndexPlusOne, offset, sealedBytes] = old.subarray(at, at + WORDS) as unknown as number[];
      if (packIndexPlusOne)
        this.insert([a, b, c, d] as number[], packIndexPlusOne, offset as number, sealedBytes as number);
    }
  }
}

function wordsOf(id: Uint8Array): readonly number[] {
  const view = new DataView(id.buffer, id.byteOffset, CHUNK_ID_BYTES);
  return [view.getUint32(0), view.getUint32(4), view.getUint32(8), view.getUint32(12)];
}
