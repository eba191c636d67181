import { openRecipeKey } from '@azaion/crypto';
import { type ByteRange, DomainError } from '@azaion/kernel';

import type { HeldLease, HeldLeases } from '../leases/held-leases.js';
import type { PackId } from '../pack.js';
import type { SegmentStore } from '../ports/segment-store.js';
import { RECORDS_PER_SEGMENT } from '../recipe/limits.js';
import type { PackSegment } from '../recipe/pack-segment.js';
import { Recipe } from '../recipe/recipe.js';
import { type PlannedRange, planRanges } from './fetch-plan.js';
import type { PackReader } from './pack-reader.js';
import { keptSegmentsOf } from './segment-cache.js';

/** A pack that a leased version is made of. */
export interface LeasedPack {
  readonly folderId: string;
  readonly packId: PackId;
}

/** What of the leased versions lies on this machine. Asks nobody and fetches nothing. A lease whose key does not open now has nothing here: it says nothing about the others. */
export class LeasedContent {
  constructor(
    private readonly leases: Pick<HeldLeases, 'recipient'>,
    private readonly reader: PackReader,
    private readonly segments: SegmentStore,
  ) {}

  /** Whether every sealed part and every chunk of a leased version is here, so that it opens without any network. */
  async isComplete(lease: HeldLease): Promise<boolean> {
    try {
      for await (const { isHere } of this.ranges(lease)) if (!(await isHere())) return false;
      return true;
    } catch (error) {
      if (error instanceof DomainError) return false; // a part of the recipe is not here, or damaged; or its key does not open
      throw error;
    }
  }

  /** How many bytes of a leased version's plaintext open without any network. It looks at every range, and every chunk of those that lie here in part: ask for it seldom. */
  async presentBytes(lease: HeldLease): Promise<number> {
    let presentBytes = 0;
    try {
      for await (const { planned, isHere } of this.ranges(lease)) {
        const { segment, from, to } = planned;
        if (await isHere()) presentBytes += planned.plaintextBytes;
        else
          for (let chunk = from; chunk < to; chunk++) {
            const start = segment.offset(chunk);
            const range = { start, end: start + segment.sealedBytes(chunk) };
            if (await isHere(range)) presentBytes += segment.plaintextBytes(chunk);
          }
      }
    } catch (error) {
      if (!(error instanceof DomainError)) throw error;
    }
    return presentBytes;
  }

  /** The packs of a leased version; `undefined` while its recipe is not here as a whole, or does not open. */
  async packs(lease: HeldLease): Promise<readonly LeasedPack[] | undefined> {
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
      if (error instanceof DomainError) return undefined;
      throw error;
    }
    return packs;
  }

  /** The ranges of packs that a leased version is made of, and whether each, or a part of it, can be read on this machine. */
  private async *ranges(lease: HeldLease): AsyncGenerator<{
    readonly planned: PlannedRange;
    readonly isHere: (part?: ByteRange) => Promise<boolean>;
  }> {
    const { folderId, totalBytes } = lease.statement;
    const recipe = await this.recipe(lease);
    const packs = new Map<number, PackSegment>();
    for await (const planned of planRanges(recipe, { start: 0, end: totalBytes })) {
      const { packIndex, range } = planned;
      const segmentIndex = Math.floor(packIndex / RECORDS_PER_SEGMENT);
      const segment = packs.get(segmentIndex) ?? (await recipe.packSegment(segmentIndex));
      packs.set(segmentIndex, segment);
      const pack = segment.pack(packIndex % RECORDS_PER_SEGMENT);
      yield { planned, isHere: (part = range) => this.reader.holds(folderId, pack, part) };
    }
  }

  private async recipe({ answer, statement }: HeldLease): Promise<Recipe> {
    const { point, ecdh } = await this.leases.recipient();
    const { folderId, resourceId, version, rootHash } = statement;
    const key = await openRecipeKey(answer.sealedRecipeKey, point, ecdh, answer.grantToken, rootHash);
    const place = { folderId, resourceId, version };
    return Recipe.open(place, key, keptSegmentsOf(rootHash, this.segments), rootHash);
  }
}
