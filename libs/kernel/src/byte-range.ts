/** Bytes `[start, end)`, counted from 0. `0 <= start <= end`, both safe integers. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}
