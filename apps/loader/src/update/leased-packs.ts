import type { LeasedPack } from '@azaion/split-resource';

/** A look at the leases is good for this long: many packs may have to go at once. */
const LOOK_MS = 10_000;

/** Which packs the leases need, looked up when the pack store is about to give something up. */
export class LeasedPacks {
  private packs: ReadonlySet<string> = new Set();
  private lookedAtMs = -Infinity;
  private look: () => Promise<readonly LeasedPack[]> = () => Promise.resolve([]);

  /** @param monotonicMs - Time that only goes forwards. */
  constructor(private readonly monotonicMs: () => number) {}

  /** From where it is learned; nothing is leased before. */
  from(look: () => Promise<readonly LeasedPack[]>): void {
    this.look = look;
    this.lookedAtMs = -Infinity;
  }

  /** Whether a lease needs a pack, as it is now. It never rejects: where the leases cannot be read, what was known stays. */
  async now(): Promise<(folderId: string, packId: string) => boolean> {
    const nowMs = this.monotonicMs();
    if (nowMs - this.lookedAtMs >= LOOK_MS) {
      this.lookedAtMs = nowMs;
      const found = await this.look().catch(() => undefined);
      if (found !== undefined) this.packs = new Set(found.map(({ folderId, packId }) => keyOf(folderId, packId)));
    }
    const { packs } = this;
    return (folderId, packId) => packs.has(keyOf(folderId, packId));
  }
}

function keyOf(folderId: string, packId: string): string {
  return `${folderId}/${packId}`;
}
