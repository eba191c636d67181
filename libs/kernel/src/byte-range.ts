/** Bytes `[start, end)`, counted from 0. `0 <= start <= end`, both safe integers. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/** One range; fifteen digits are more bytes than anything has, and fewer than a number can tell apart. */
const ONE_RANGE = /^bytes=(\d{0,15})-(\d{0,15})$/;

/**
 * The bytes that a `Range` header asks for (RFC 9110 §14.1.2, §14.2).
 *
 * @param header - Untrusted text.
 * @param totalBytes - Of what is asked of.
 * @returns A range that is not empty and lies inside; `ignored` for other units, several ranges and what is malformed: the RFC permits to answer
 *   with everything then; `unsatisfiable` when it lies behind the end.
 */
export function wantedRange(header: string, totalBytes: number): ByteRange | 'ignored' | 'unsatisfiable' {
  const [, first = '', last = ''] = ONE_RANGE.exec(header.trim()) ?? [];
  if (first === '' && last === '') return 'ignored';
  if (first !== '' && last !== '' && Number(last) < Number(first)) return 'ignored';
  const start = first === '' ? Math.max(0, totalBytes - Number(last)) : Number(first);
  const end = first === '' || last === '' ? totalBytes : Math.min(totalBytes, Number(last) + 1);
  return start < end ? { start, end } : 'unsatisfiable';
}
