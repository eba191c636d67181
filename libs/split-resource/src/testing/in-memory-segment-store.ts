import { SegmentStore } from '../ports/segment-store.js';

/** Keeps recipe parts in memory. */
export class InMemorySegmentStore extends SegmentStore {
  private readonly entries = new Map<string, Uint8Array>();

  override read(key: string): Promise<Uint8Array | undefined> {
    const kept = this.entries.get(key);
    return Promise.resolve(kept && new Uint8Array(kept));
  }

  override write(key: string, bytes: Uint8Array): Promise<void> {
    this.entries.set(key, new Uint8Array(bytes));
    return Promise.resolve();
  }

  /** Every key, for what tests look at. */
  keys(): readonly string[] {
    return [...this.entries.keys()];
  }
}
