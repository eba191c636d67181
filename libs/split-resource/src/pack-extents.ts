import type { ByteRange } from '@azaion/kernel';

import { MAX_PACK_BYTES } from './pack.js';

/** Most extents that a compacted pack has: the URLs of 64 packs stay in one answer. */
export const MAX_PACK_EXTENTS = 256;

/**
 * What is left of a compacted pack: ranges of it, in order, not empty, never touching. Its object holds just these bytes, one range after the
 * other, so that any range of the pack lies in one range of the object. Source: docs/formats/sealed-resource.md, "Compaction".
 */
export type PackExtents = readonly ByteRange[];

/** What there is instead of a whole pack. */
export interface CompactedPack {
  readonly extents: PackExtents;
  /** SHA-256 of the object, as the Admin API wrote it; the one in recipes is of the whole pack. */
  readonly sha256: Uint8Array;
}

/**
 * The extents that keep these ranges: neighbours become one, and where there are too many, those with the least between them.
 *
 * @param kept - In any order; they may touch, overlap and repeat.
 */
export function extentsOf(kept: Iterable<ByteRange>): PackExtents {
  const sorted = [...kept].sort((left, right) => left.start - right.start);
  const extents = joined(sorted, 0);
  if (extents.length <= MAX_PACK_EXTENTS) return extents;
  const gaps = extents.slice(1).map(({ start }, index) => start - (extents[index] as ByteRange).end);
  gaps.sort((left, right) => left - right);
  return joined(extents, gaps[extents.length - MAX_PACK_EXTENTS - 1] as number);
}

/** Whether these are the extents of a pack. @param extents - Numbers from outside. */
export function areExtents(extents: PackExtents): boolean {
  let end = -1;
  for (const extent of extents) {
    if (!Number.isSafeInteger(extent.start) || !Number.isSafeInteger(extent.end)) return false;
    if (extent.start <= end || extent.end <= extent.start) return false;
    end = extent.end;
  }
  return extents.length > 0 && extents.length <= MAX_PACK_EXTENTS && end <= MAX_PACK_BYTES;
}

/** Where a range of a pack lies in its object. @param extents - `undefined` for a whole pack. @returns Shorter than the range by what is not there any more; maybe empty. */
export function rangeInObject(extents: PackExtents | undefined, range: ByteRange): ByteRange {
  if (extents === undefined) return range;
  let [start, end] = [0, 0];
  for (const extent of extents) {
    start += lengthBefore(extent, range.start);
    end += lengthBefore(extent, range.end);
  }
  return { start, end };
}

/**
 * A range of a pack out of the bytes of its object.
 *
 * @param range - Of the pack.
 * @param bytes - Those of {@link rangeInObject}.
 * @returns With zeros where nothing is left: nobody needs what was there. The very bytes when they are all of the range.
 */
export function bytesInPack(extents: PackExtents | undefined, range: ByteRange, bytes: Buffer): Buffer {
  if (extents === undefined || bytes.length === range.end - range.start) return bytes;
  const whole = Buffer.alloc(range.end - range.start);
  let at = 0;
  for (const extent of extents) {
    const start = Math.max(extent.start, range.start);
    const end = Math.min(extent.end, range.end);
    if (start < end) at += bytes.copy(whole, start - range.start, at, at + end - start);
  }
  return whole;
}

/** Bytes of an extent that lie before a position of the pack. */
function lengthBefore({ start, end }: ByteRange, position: number): number {
  return Math.max(0, Math.min(end, position) - start);
}

/** @param sorted - By their starts. @param mostBetween - Bytes between two ranges that become one. */
function joined(sorted: readonly ByteRange[], mostBetween: number): ByteRange[] {
  const all: ByteRange[] = [];
  for (const { start, end } of sorted) {
    const last = all.at(-1);
    if (last !== undefined && start - last.end <= mostBetween)
      all[all.length - 1] = { start: last.start, end: Math.max(last.end, end) };
    else all.push({ start, end });
  }
  return all;
}
