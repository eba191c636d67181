import { type KeptRecipe, SegmentStore } from '../ports/segment-store.js';

interface Entry {
  readonly bytes: Uint8Array;
  usedAtMs: number;
}

/** Keeps recipe parts in memory. */
export class InMemorySegmentStore extends SegmentStore {
  /** By which it says when something was used. */
  nowMs: () => number = () => Date.now();
  private readonly entries = new Map<string, Entry>();

  override read(key: string): Promise<Uint8Array | undefined> {
    const kept = this.entries.get(key);
    if (kept !== undefined) kept.usedAtMs = this.nowMs();
    return Promise.resolve(kept && new Uint8Array(kept.bytes));
  }

  override write(key: string, bytes: Uint8Array): Promise<void> {
    this.entries.set(key, { bytes: new Uint8Array(bytes), usedAtMs: this.nowMs() });
    return Promise.resolve();
  }

  override recipes(): Promise<readonly KeptRecipe[]> {
    const found = new Map<string, KeptRecipe>();
    for (const [key, { bytes, usedAtMs }] of this.entries) {
      const [rootHash = ''] = key.split('/');
      const before = found.get(rootHash);
      found.set(rootHash, {
        rootHash,
        sizeBytes: bytes.length + (before?.sizeBytes ?? 0),
        usedAtMs: Math.max(usedAtMs, before?.usedAtMs ?? 0),
      });
    }
    return Promise.resolve([...found.values()]);
  }

  override drop(rootHash: string): Promise<void> {
    for (const key of this.entries.keys()) if (key.startsWith(`${rootHash}/`)) this.entries.delete(key);
    return Promise.resolve();
  }

  /** Every key, for what tests look at. */
  keys(): readonly string[] {
    return [...this.entries.keys()];
  }
}
