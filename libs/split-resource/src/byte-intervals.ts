import type { ByteRange } from '@azaion/kernel';

/** A set of bytes as disjoint, ordered ranges that do not touch: which parts of a pack are there. */
export class ByteIntervals {
  private ranges: ByteRange[] = [];

  /** The ranges, in order. */
  get all(): readonly ByteRange[] {
    return this.ranges;
  }

  /** How many bytes are in the set. */
  get sizeBytes(): number {
    return this.ranges.reduce((sum, { start, end }) => sum + end - start, 0);
  }

  /** Adds a range. */
  add(range: ByteRange): void {
    if (range.start >= range.end) return;
    const from = this.firstEndingAtOrAfter(range.start);
    let to = from;
    let { start, end } = range;
    for (; to < this.ranges.length; to++) {
      const other = this.ranges[to] as ByteRange;
      if (other.start > end) break;
      start = Math.min(start, other.start);
      end = Math.max(end, other.end);
    }
    this.ranges.splice(from, to - from, { start, end });
  }

  /** Takes a range out. */
  remove(range: ByteRange): void {
    if (range.start >= range.end) return;
    this.ranges = this.ranges.flatMap((other) => {
      if (other.end <= range.start || other.start >= range.end) return [other];
      const before = { start: other.start, end: range.start };
      const after = { start: range.end, end: other.end };
      return [before, after].filter(({ start, end }) => start < end);
    });
  }

  /** Which parts of a range are not in the set, in order. */
  missing(range: ByteRange): readonly ByteRange[] {
    const gaps: ByteRange[] = [];
    let at = range.start;
    for (let index = this.firstEndingAtOrAfter(range.start); index < this.ranges.length; index++) {
      const { start, end } = this.ranges[index] as ByteRange;
      if (start >= range.end) break;
      if (start > at) gaps.push({ start: at, end: start });
      at = Math.max(at, end);
    }
    if (at < range.end) gaps.push({ start: at, end: range.end });
    return gaps;
  }

  private firstEndingAtOrAfter(position: number): number {
    let low = 0;
    let high = this.ranges.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.ranges[middle] as ByteRange).end < position) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
