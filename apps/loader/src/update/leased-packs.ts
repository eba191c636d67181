import { type LeasedPack } from '@azaion/split-resource';

/** Which packs the leases need, as it was looked up last: the pack store asks at every eviction and cannot wait. */
export class LeasedPacks {
  private packs: ReadonlySet<string> = new Set();

  /** Replaces what is known. */
  learn(packs: readonly LeasedPack[]): void {
    this.packs = new Set(packs.map(({ folderId, packId }) => `${folderId}/${packId}`));
  }

  /** Whether a lease needs the pack. */
  has(folderId: string, packId: string): boolean {
    return this.packs.has(`${folderId}/${packId}`);
  }
}
