import type { SegmentStore } from '../ports/segment-store.js';

/** What nobody has used for so long goes. */
const UNUSED_MS = 7 * 86_400_000;
/** What was used since may be in use. */
const IN_USE_MS = 3_600_000;

/** What {@link ForgetRecipes} works with. */
export interface ForgetRecipesDependencies {
  readonly segments: SegmentStore;
  /** Root hashes of the versions that leases are kept of, whether they hold now or not. */
  readonly leased: () => Promise<ReadonlySet<string>>;
  /** The machine's clock, by which the store says when something was used. */
  readonly nowMs: () => number;
  /** Most bytes of recipes kept that no lease needs. */
  readonly limitBytes: number;
}

/** What one run came to. */
export interface ForgottenRecipes {
  readonly recipes: number;
  readonly bytes: number;
}

/** Removes recipe parts that no lease needs: a week after their last use, or the oldest ones when they take too much room. They can be had again. */
export class ForgetRecipes {
  constructor(private readonly using: ForgetRecipesDependencies) {}

  /** @throws What the stores throw. */
  async run(): Promise<ForgottenRecipes> {
    const { segments, leased, nowMs, limitBytes } = this.using;
    // In this order: what is leased in between is new, and stays for being so.
    const kept = await segments.recipes();
    const needed = await leased();
    const spare = kept.filter(({ rootHash }) => !needed.has(rootHash)).sort((a, b) => a.usedAtMs - b.usedAtMs);
    let spareBytes = spare.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    let [recipes, bytes] = [0, 0];
    for (const { rootHash, sizeBytes, usedAtMs } of spare) {
      const unusedMs = nowMs() - usedAtMs;
      if (unusedMs < UNUSED_MS && (spareBytes <= limitBytes || unusedMs < IN_USE_MS)) continue;
      await segments.drop(rootHash);
      spareBytes -= sizeBytes;
      recipes += 1;
      bytes += sizeBytes;
    }
    return { recipes, bytes };
  }
}
