import { randomBytes } from 'node:crypto';

import { concatBytes, u32be, utf8 } from '@azaion/kernel';

import { KEY_BYTES } from './chunk-keys.js';
import { CryptoError } from './errors.js';
import { GCM_NONCE_BYTES, GCM_TAG_BYTES, gcmOpen, gcmSealInto, hkdfSha256 } from './primitives.js';

/** The parts of a recipe, with the number each has inside the format. */
export const SEGMENT_KINDS = { root: 0, chunks: 1, packs: 2 } as const;
/** Name of a part of a recipe. */
export type SegmentKind = keyof typeof SEGMENT_KINDS;

const ID_BYTES = 16;

/** Where a segment belongs. All of it is authenticated, so a segment opens in its own place only. */
export interface SegmentPlace {
  /** 16 bytes. */
  readonly folderId: Uint8Array;
  /** 16 bytes. */
  readonly resourceId: Uint8Array;
  /** 1, 2, 3 …; 0 while an upload has not been committed ({@link DRAFT_VERSION}). */
  readonly version: number;
  readonly kind: SegmentKind;
  readonly index: number;
  /** Whether it is the last segment of its kind. */
  readonly last: boolean;
}

/** The version in the place of a publisher's draft segments: the final number is known only at the commit, where they are sealed anew (ADR 0003). */
export const DRAFT_VERSION = 0;
/** Bytes a sealed segment has beside its content: nonce and tag. */
export const SEGMENT_OVERHEAD_BYTES = GCM_NONCE_BYTES + GCM_TAG_BYTES;

/** A fresh `recipeKey`. */
export function newRecipeKey(): Buffer {
  return randomBytes(KEY_BYTES);
}

/**
 * Seals a part of a recipe: `nonce(12) ‖ AES-256-GCM(content) ‖ tag(16)` under a key of its own derived from `recipeKey`.
 *
 * @throws RangeError for ids of another length, or numbers that are not unsigned 32-bit integers.
 */
export function sealSegment(content: Uint8Array, recipeKey: Uint8Array, place: SegmentPlace): Buffer {
  const nonce = randomBytes(GCM_NONCE_BYTES);
  const sealed = Buffer.alloc(SEGMENT_OVERHEAD_BYTES + content.length);
  sealed.set(nonce);
  const key = segmentKey(recipeKey, place);
  gcmSealInto(key, nonce, associatedData(place), content, sealed.subarray(GCM_NONCE_BYTES));
  return sealed;
}

/**
 * Opens a part of a recipe.
 *
 * @param sealed - Untrusted bytes.
 * @returns The content, authentic for exactly this place under this key.
 * @throws CryptoError `segment.invalid`; RangeError for a place that cannot exist, which is the calling code's mistake.
 */
export function openSegment(sealed: Uint8Array, recipeKey: Uint8Array, place: SegmentPlace): Buffer {
  const [key, aad] = [segmentKey(recipeKey, place), associatedData(place)];
  try {
    return gcmOpen(key, sealed.subarray(0, GCM_NONCE_BYTES), aad, sealed.subarray(GCM_NONCE_BYTES));
  } catch (cause) {
    throw new CryptoError('segment.invalid', 'A part of the recipe is damaged, forged or out of place.', { cause });
  }
}

function segmentKey(recipeKey: Uint8Array, place: SegmentPlace): Uint8Array {
  const info = concatBytes(utf8('azaion-v2-recipe\0'), Uint8Array.of(SEGMENT_KINDS[place.kind]), u32be(place.index));
  return hkdfSha256(recipeKey, new Uint8Array(0), info, KEY_BYTES);
}

function associatedData(place: SegmentPlace): Uint8Array {
  // Fixed widths are what makes the concatenation unambiguous.
  if (place.folderId.length !== ID_BYTES || place.resourceId.length !== ID_BYTES)
    throw new RangeError('ids of folders and resources have 16 bytes');
  return concatBytes(
    place.folderId,
    place.resourceId,
    u32be(place.version),
    Uint8Array.of(SEGMENT_KINDS[place.kind]),
    u32be(place.index),
    Uint8Array.of(place.last ? 1 : 0),
  );
}
