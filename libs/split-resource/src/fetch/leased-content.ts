import { openRecipeKey } from '@azaion/crypto';

import { ResourceError } from '../errors.js';
import { type HeldLease, type HeldLeases } from '../leases/held-leases.js';
import { type PackId } from '../pack.js';
import { type SegmentStore } from '../ports/segment-store.js';
import { RECORDS_PER_SEGMENT } from '../recipe/limits.js';
import { type PackSegment } from '../recipe/pack-segment.js';
import { Recipe } from '../recipe/recipe.js';
import { planRanges } from './fetch-plan.js';
import { type PackReader } from './pack-reader.js';
import { keptSegmentsOf } from './segment-cache.js';

/** A pack that a leased version is made of. */
export interface LeasedPack {
  readonly folderId: string;
  readonly packId: PackId;
}

/** What of the leased versions lies on this machine. Asks nobody and fetches nothing. */
export class LeasedContent {
  constructor(
    private readonly leases: Pick<HeldLeases, 'recipient'>,
    private readonly reader: PackReader,
    private readonly segments: SegmentStore,
  ) {}

  /** Whether every sealed part and every chunk of a leased version is here, so that it opens without any network. */
  async isComplete(lease: HeldLease): Promise<boolean> {
    const { folderId, totalBytes } = lease.statement;
    try {
      const recipe = await this.recipe(lease);
      const packs = new Map<number, PackSegment>();
      for await (const { packIndex, range } of planRanges(recipe, { start: 0, end: totalBytes })) {
        const segmentIndex = Math.floor(packIndex / RECORDS_PER_SEGMENT);
        const segment = packs.get(segmentIndex) ?? (await recipe.packSegment(segmentIndex));
        packs.set(segmentIndex, segment);
        if (!(await this.reader.holds(folderId, segment.pack(packIndex % RECORDS_PER_SEGMENT), range))) return false;
      }
      return true;
    } catch (error) {
      if (error instanceof ResourceError) return false; // a part of the recipe is not here, or damaged
      throw error;
    }
  }

  /** The packs of a leased version, as far as its recipe is here. */
  async packs(lease: HeldLease): Promise<readonly LeasedPack[]> {
    const { folderId } = lease.statement;
    const packs: LeasedPack[] = [];
    try {
      const recipe = await this.recipe(lease);
      for (let at = 0; at < recipe.root.packSegmentHashes.length; at++) {
        const segment = await recipe.packSegment(at);
        for (let index = 0; index < segment.count; index++)
          packs.push({ folderId, packId: segment.pack(index).packId });
      }
    } catch (error) {
      if (!(error instanceof ResourceError)) throw error;
    }
    return packs;
  }

  private async recipe({ answer, statement }: HeldLease): Promise<Recipe> {
    const { point, ecdh } = await this.leases.recipient();
    const { folderId, resourceId, version, rootHash } = statement;
    const key = await openRecipeKey(answer.sealedRecipeKey, point, ecdh, answer.grantToken, rootHash);
    const place = { folderId, resourceId, version };
    return Recipe.open(place, key, keptSegmentsOf(rootHash, this.segments), rootHash);
  }
}
