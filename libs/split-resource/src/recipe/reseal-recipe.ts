import { hash } from 'node:crypto';

import { newRecipeKey, type SegmentKind, sealSegment } from '@azaion/crypto';

import type { Recipe } from './recipe.js';
import type { SealedRecipe, SegmentWriter } from './recipe-builder.js';
import { segmentPlace } from './recipe-place.js';
import { encodeRoot } from './recipe-root.js';

/** A committed version's recipe. */
export interface ResealedRecipe extends SealedRecipe {
  /** Fresh, 32 bytes: the publisher has never seen it. To be wrapped by the KEK. */
  readonly recipeKey: Uint8Array;
}

/**
 * Seals a draft anew under a fresh key with the version it was given at the commit (ADR 0003). Check the draft with `verifyRecipe` first.
 *
 * @param draft - Opened with the publisher's key and version 0.
 * @param version - 1 or more.
 * @param write - Receives the parts, the root last.
 * @throws as the reading of the draft, and what `write` throws.
 */
export async function resealRecipe(draft: Recipe, version: number, write: SegmentWriter): Promise<ResealedRecipe> {
  const recipeKey = newRecipeKey();
  const place = { ...draft.place, version };
  let recipeBytes = 0;
  const seal = async (content: Uint8Array, kind: SegmentKind, index: number, last: boolean): Promise<Buffer> => {
    const sealed = sealSegment(content, recipeKey, segmentPlace(place, kind, index, last));
    recipeBytes += sealed.length;
    await write(kind, index, sealed);
    return hash('sha256', sealed, 'buffer');
  };
  const sealAll = async (kind: 'chunks' | 'packs', segments: number): Promise<Buffer[]> => {
    const hashes: Buffer[] = [];
    for (let index = 0; index < segments; index++) {
      const segment = kind === 'chunks' ? await draft.chunkSegment(index) : await draft.packSegment(index);
      hashes.push(await seal(segment.bytes, kind, index, index === segments - 1));
    }
    return hashes;
  };
  const packSegmentHashes = await sealAll('packs', draft.root.packSegmentHashes.length);
  const chunkSegmentHashes = await sealAll('chunks', draft.root.chunkSegmentHashes.length);
  const root = encodeRoot({ ...draft.root, packSegmentHashes, chunkSegmentHashes });
  const rootHash = await seal(root, 'root', 0, true);
  return {
    recipeKey,
    rootHash: rootHash.toString('hex'),
    chunkSegments: chunkSegmentHashes.length,
    packSegments: packSegmentHashes.length,
    recipeBytes,
  };
}
