import type { ByteRange } from '@azaion/kernel';

import type { ChunkSegment } from '../recipe/chunk-segment.js';
import type { Recipe } from '../recipe/recipe.js';

/** Neighbouring ranges are read as one when no more than this lies between them. */
export const MAX_GAP_BYTES = 64 * 1024;
/** The first range is one chunk, so that the first byte comes soon. The second has this many bytes, and the following ones double up to the largest. */
const SECOND_RANGE_BYTES = 512 * 1024;
/** Largest range; eight of them fit into the budget for reading ahead. At most `MAX_RANGE_BYTES`. */
export const LARGEST_RANGE_BYTES = 3 * 1024 * 1024;
/** A range may open to this many times its cap: well compressed chunks would otherwise open to far more than was counted on. */
const MAX_EXPANSION = 2;

/** Consecutive chunks of the plaintext that lie close together in one pack. */
export interface PlannedRange {
  readonly segment: ChunkSegment;
  readonly segmentIndex: number;
  /** Chunks `[from, to)` of the segment. */
  readonly from: number;
  readonly to: number;
  readonly packIndex: number;
  /** Bytes of the pack. */
  readonly range: ByteRange;
  /** Where the first chunk starts in the plaintext. */
  readonly plaintextStart: number;
  /** Length of the chunks' plaintext. */
  readonly plaintextBytes: number;
}

/**
 * Turns a range of the plaintext into ranges of packs, in the order of the plaintext. Reads only the chunk segments that cover the
 * range, one at a time.
 *
 * @param wanted - Inside the resource.
 */
export async function* planRanges(recipe: Recipe, wanted: ByteRange): AsyncGenerator<PlannedRange, void> {
  if (wanted.start === wanted.end) return;
  let segmentStart = 0;
  let capBytes = 0;
  for (const [segmentIndex, segmentBytes] of recipe.root.chunkSegmentBytes.entries()) {
    if (segmentStart >= wanted.end) return;
    if (segmentStart + segmentBytes > wanted.start) {
      const segment = await recipe.chunkSegment(segmentIndex);
      let index = segment.chunkAt(Math.max(0, wanted.start - segmentStart));
      let at = segmentStart + segment.plaintextStart(index);
      while (index < segment.count && at < wanted.end) {
        const planned = rangeFrom(segment, segmentIndex, index, at, wanted.end, capBytes);
        capBytes = Math.min(Math.max(capBytes * 2, SECOND_RANGE_BYTES), LARGEST_RANGE_BYTES);
        yield planned;
        at += planned.plaintextBytes;
        index = planned.to;
      }
    }
    segmentStart += segmentBytes;
  }
}

function rangeFrom(
  segment: ChunkSegment,
  segmentIndex: number,
  from: number,
  plaintextStart: number,
  wantedEnd: number,
  capBytes: number,
): PlannedRange {
  const packIndex = segment.packIndex(from);
  const start = segment.offset(from);
  let end = start + segment.sealedBytes(from);
  let to = from + 1;
  let at = plaintextStart + segment.plaintextBytes(from);
  for (; to < segment.count && at < wantedEnd; to++) {
    const offset = segment.offset(to);
    const reach = Math.max(end, offset + segment.sealedBytes(to));
    const joins =
      segment.packIndex(to) === packIndex &&
      offset >= start &&
      offset <= end + MAX_GAP_BYTES &&
      reach - start <= capBytes &&
      at + segment.plaintextBytes(to) - plaintextStart <= MAX_EXPANSION * capBytes;
    if (!joins) break;
    end = reach;
    at += segment.plaintextBytes(to);
  }
  return {
    segment,
    segmentIndex,
    from,
    to,
    packIndex,
    range: { start, end },
    plaintextStart,
    plaintextBytes: at - plaintextStart,
  };
}
