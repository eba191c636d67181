import type { ByteRange } from '@azaion/kernel';

import { ByteIntervals } from '../byte-intervals.js';
import { ResourceError } from '../errors.js';
import { MAX_PACK_BYTES, type PackRef } from '../pack.js';
import { PackStore, type SparePacks } from '../ports/pack-store.js';

interface KeptPack {
  readonly bytes: Buffer;
  readonly present: ByteIntervals;
  usedAt: number;
}

/** Keeps packs in memory, within a limit. */
export class InMemoryPackStore extends PackStore {
  private readonly packs = new Map<string, KeptPack>();
  private uses = 0;

  constructor(private readonly limitBytes = Number.MAX_SAFE_INTEGER) {
    super();
  }

  override missing(folderId: string, pack: PackRef, range: ByteRange): Promise<readonly ByteRange[]> {
    return Promise.resolve(this.packs.get(keyOf(folderId, pack))?.present.missing(range) ?? [range]);
  }

  override read(folderId: string, pack: PackRef, range: ByteRange): Promise<Buffer | undefined> {
    const kept = this.packs.get(keyOf(folderId, pack));
    if (kept === undefined || kept.present.missing(range).length > 0) return Promise.resolve(undefined);
    kept.usedAt = ++this.uses;
    return Promise.resolve(Buffer.from(kept.bytes.subarray(range.start, range.end)));
  }

  // eslint-disable-next-line @typescript-eslint/require-await -- so that a refusal is a rejection
  override async write(folderId: string, pack: PackRef, startByte: number, bytes: Uint8Array): Promise<void> {
    const key = keyOf(folderId, pack);
    const range = { start: startByte, end: startByte + bytes.length };
    if (range.end > pack.sizeBytes) throw new RangeError('outside of the pack');
    const missing = this.packs.get(key)?.present.missing(range) ?? [range];
    // Without a pause before the write: two at once must not take the same room.
    this.makeRoom(
      missing.reduce((sum, { start, end }) => sum + end - start, 0),
      key,
    );
    const kept = this.packs.get(key) ?? {
      bytes: Buffer.alloc(pack.sizeBytes),
      present: new ByteIntervals(),
      usedAt: 0,
    };
    this.packs.set(key, kept);
    kept.usedAt = ++this.uses;
    kept.bytes.set(bytes, startByte);
    kept.present.add(range);
  }

  override discard(folderId: string, pack: PackRef, range: ByteRange): Promise<void> {
    this.packs.get(keyOf(folderId, pack))?.present.remove(range);
    return Promise.resolve();
  }

  // eslint-disable-next-line @typescript-eslint/require-await -- so that a refusal is a rejection
  override async reserve(bytes: number): Promise<void> {
    if (Math.min(bytes, MAX_PACK_BYTES) > this.limitBytes) throw noSpace();
    this.makeRoom(Math.min(bytes, this.limitBytes), undefined);
  }

  override capacityBytes(): Promise<number> {
    return Promise.resolve(this.limitBytes);
  }

  override usage(): Promise<{ readonly bytes: number; readonly limitBytes: number }> {
    return Promise.resolve({ bytes: this.usedBytes(), limitBytes: this.limitBytes });
  }

  override spare(isNeeded: (folderId: string, packId: string) => boolean): Promise<SparePacks> {
    const spare = [...this.packs].filter(([key, { present }]) => {
      const [folderId = '', packId = ''] = key.split('/');
      return present.sizeBytes > 0 && !isNeeded(folderId, packId);
    });
    return Promise.resolve({
      packs: spare.length,
      bytes: spare.reduce((sum, [, { present }]) => sum + present.sizeBytes, 0),
    });
  }

  /** Flips one bit of what is kept, as a failing disk would. */
  damage(folderId: string, packId: string, at: number): void {
    const kept = this.packs.get(`${folderId}/${packId}`);
    if (kept) kept.bytes[at] = (kept.bytes[at] as number) ^ 1;
  }

  private makeRoom(bytes: number, kept: string | undefined): void {
    if (bytes > this.limitBytes) throw noSpace();
    const oldestFirst = [...this.packs].sort(([, left], [, right]) => left.usedAt - right.usedAt);
    for (const [key] of oldestFirst) {
      if (this.usedBytes() + bytes <= this.limitBytes) break;
      if (key !== kept) this.packs.delete(key);
    }
    if (this.usedBytes() + bytes > this.limitBytes) throw noSpace();
  }

  private usedBytes(): number {
    return [...this.packs.values()].reduce((sum, { present }) => sum + present.sizeBytes, 0);
  }
}

function keyOf(folderId: string, pack: PackRef): string {
  return `${folderId}/${pack.packId}`;
}

function noSpace(): ResourceError {
  return new ResourceError('resource.no-space', 'The pack store is full.');
}
