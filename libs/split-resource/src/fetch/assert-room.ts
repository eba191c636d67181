import { ResourceError } from '../errors.js';
import { RECORDS_PER_SEGMENT } from '../recipe/limits.js';
import type { Recipe } from '../recipe/recipe.js';
import { planRanges } from './fetch-plan.js';
import type { PackReader } from './pack-reader.js';

/**
 * Checks that a version can lie in the pack store as a whole, if the store gave up everything else. Reads the pack table, and the rest of the
 * recipe only when the whole packs would not fit: a version may use a small part of each.
 *
 * @throws ResourceError `resource.no-space`, with what is needed and what there is.
 */
export async function assertRoom(recipe: Recipe, reader: PackReader): Promise<void> {
  const capacityBytes = await reader.store.capacityBytes();
  /** What of each pack takes room, by its index in the table; nothing for those that lie on this machine by themselves. */
  const packBytes: number[] = [];
  for (let index = 0; index < recipe.root.packSegmentHashes.length; index++) {
    const segment = await recipe.packSegment(index);
    for (let at = 0; at < segment.count; at++) {
      const pack = segment.pack(at);
      const isDeployed = await reader.isDeployed(recipe.place.folderId, pack);
      packBytes[index * RECORDS_PER_SEGMENT + at] = isDeployed ? 0 : pack.sizeBytes;
    }
  }
  if (sumOf(packBytes) <= capacityBytes) return;
  const usedBytes = packBytes.map(() => 0);
  for await (const { packIndex, range } of planRanges(recipe, { start: 0, end: recipe.root.totalBytes })) {
    const bytes = (usedBytes[packIndex] ?? 0) + range.end - range.start;
    // Equal chunks are read again, and lie there once.
    usedBytes[packIndex] = Math.min(bytes, packBytes[packIndex] ?? 0);
  }
  const neededBytes = sumOf(usedBytes);
  if (neededBytes <= capacityBytes) return;
  throw new ResourceError(
    'resource.no-space',
    `This version takes ${String(neededBytes)} bytes, and the store of this device can keep ${String(capacityBytes)}: free disk space, or raise the limit of the store.`,
    { details: { neededBytes, capacityBytes } },
  );
}

function sumOf(bytes: readonly number[]): number {
  return bytes.reduce((sum, one) => sum + one, 0);
}
