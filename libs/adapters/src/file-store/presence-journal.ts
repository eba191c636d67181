import type { ByteRange } from '@azaion/kernel';
import { ByteIntervals, MAX_PACK_BYTES } from '@azaion/split-resource';
import { crc32 } from 'node:zlib';

/** Bytes of a journal's header and of each of its records. */
export const JOURNAL_RECORD_BYTES = 16;
const MAGIC = 0x415a_504a; // "AZPJ"
const FORMAT_VERSION = 1;
const OPERATIONS = { add: 1, remove: 2 } as const;

/** What a journal says about a pack. */
export interface ReadJournal {
  readonly present: ByteIntervals;
  /** Bytes of the journal that are whole; what follows was being written when the process died. */
  readonly wholeBytes: number;
}

/** The first record of a pack's journal (ADR 0004). */
export function journalHeader(): Buffer {
  return record(MAGIC, FORMAT_VERSION, 0);
}

/** A record that says that a range is there now, or no longer. */
export function journalRecord(operation: keyof typeof OPERATIONS, { start, end }: ByteRange): Buffer {
  return record(OPERATIONS[operation], start, end);
}

/**
 * Replays a journal up to the first record that is not whole.
 *
 * @param bytes - From a disk: anything.
 * @returns `undefined` when there is no valid header.
 */
export function replayJournal(bytes: Buffer): ReadJournal | undefined {
  const [magic, version] = wordsAt(bytes, 0) ?? [];
  if (magic !== MAGIC || version !== FORMAT_VERSION) return undefined;
  const present = new ByteIntervals();
  let at = JOURNAL_RECORD_BYTES;
  for (; ; at += JOURNAL_RECORD_BYTES) {
    const [operation, start = 0, end = 0] = wordsAt(bytes, at) ?? [];
    if (start >= end || end > MAX_PACK_BYTES) break;
    if (operation === OPERATIONS.add) present.add({ start, end });
    else if (operation === OPERATIONS.remove) present.remove({ start, end });
    else break;
  }
  return { present, wholeBytes: at };
}

function record(...words: readonly [number, number, number]): Buffer {
  const bytes = Buffer.alloc(JOURNAL_RECORD_BYTES);
  words.forEach((word, index) => bytes.writeUInt32BE(word, index * 4));
  bytes.writeUInt32BE(crc32(bytes.subarray(0, 12)), 12);
  return bytes;
}

function wordsAt(bytes: Buffer, at: number): readonly number[] | undefined {
  if (at + JOURNAL_RECORD_BYTES > bytes.length) return undefined;
  if (crc32(bytes.subarray(at, at + 12)) !== bytes.readUInt32BE(at + 12)) return undefined;
  return [bytes.readUInt32BE(at), bytes.readUInt32BE(at + 4), bytes.readUInt32BE(at + 8)];
}
