import { hash } from 'node:crypto';

import type { StoredBytes } from './stored-bytes.js';

/** Length of every key of the format. */
export const KEY_BYTES = 32;

/** Byte strings that may be keys, each once. */
export class CandidateKeys {
  private readonly keys = new Set<string>();

  get count(): number {
    return this.keys.size;
  }

  /** Every run of 32 bytes, at every offset. */
  addFrom({ bytes }: StoredBytes): void {
    const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
    for (let at = 0; at + KEY_BYTES <= text.length; at += 1) this.keys.add(text.slice(at, at + KEY_BYTES));
  }

  /** A text that somebody may have made a key of: SHA-256 of it, as the older system did. */
  addPassphrase(text: string): void {
    this.keys.add(hash('sha256', text, 'buffer').toString('latin1'));
  }

  /** One key. */
  add(key: Uint8Array): void {
    this.keys.add(Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString('latin1'));
  }

  *[Symbol.iterator](): Generator<Buffer> {
    for (const key of this.keys) yield Buffer.from(key, 'latin1');
  }
}
