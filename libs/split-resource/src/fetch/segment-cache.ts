import { ResourceError } from '../errors.js';
import type { SegmentStore } from '../ports/segment-store.js';
import type { SegmentReader } from '../recipe/recipe.js';
import type { HeldGrant } from './held-grant.js';

/**
 * Reads sealed parts of one version: from the device's own store, else from the Admin API, keeping what has the right hash. A kept part
 * that was damaged on the disk is read anew.
 */
export function segmentsOf(rootHash: string, grant: HeldGrant, store: SegmentStore): SegmentReader {
  return async (kind, index, maxBytes, isSigned) => {
    const key = `${rootHash}/${kind}/${index}`;
    const kept = await store.read(key);
    if (kept !== undefined && isSigned?.(kept) === true) return kept;
    const sealed = await grant.segment(kind, index, maxBytes);
    if (sealed.length > maxBytes)
      throw new ResourceError('api.unexpected', 'The Admin API sent a part of the recipe that is too long.');
    if (isSigned?.(sealed) === true) await keepIfRoom(store, key, sealed);
    return sealed;
  };
}

/** A full disk is no reason to refuse what was granted. */
async function keepIfRoom(store: SegmentStore, key: string, sealed: Uint8Array): Promise<void> {
  try {
    await store.write(key, sealed);
  } catch (error) {
    if (!(error instanceof ResourceError) || error.code !== 'resource.no-space') throw error;
  }
}

/** Reads sealed parts from the device's own store alone. @throws ResourceError `api.unreachable` for one that is not there as it must be. */
export function keptSegmentsOf(rootHash: string, store: SegmentStore): SegmentReader {
  return async (kind, index, _maxBytes, isSigned) => {
    const kept = await store.read(`${rootHash}/${kind}/${index}`);
    if (kept !== undefined && isSigned?.(kept) === true) return kept;
    throw new ResourceError('api.unreachable', 'A part of the recipe is not on this device.');
  };
}
