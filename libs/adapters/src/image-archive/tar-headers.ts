import type { ByteRange } from '@azaion/kernel';
import { type RangedArchive, UnlockError } from '@azaion/unlock';

import { invalid } from './image-index.js';

const BLOCK_BYTES = 512;
/**
 * One read serves many headers where files are small; where they lie close together the window grows, where a large file was passed over it
 * shrinks again. Over a network each read is a round trip, and each byte of a window is fetched.
 */
const LEAST_WINDOW_BYTES = 64 * 1024;
const MOST_WINDOW_BYTES = 1024 * 1024;
const WINDOW_GROWTH = 4;
const MAX_EXTENDED_HEADER_BYTES = 64 * 1024;
const MAX_HEADERS = 40_000;
const CHECKSUM = { start: 148, end: 156 };
const SPACE = 0x20;

/** A file of a tar and where it lies. */
export interface TarEntry {
  readonly name: string;
  readonly kind: 'file' | 'directory' | 'symlink';
  /** Of a symbolic link: what it points to, from its own directory. */
  readonly target: string;
  /** From the first of its headers to the end of its padding. */
  readonly range: ByteRange;
  readonly content: ByteRange;
}

/** Forms that nothing here understands: the archive has to be read as a whole. */
export class UnknownTarForm extends Error {}

/** Reads ranges of an archive through a window, so that neighbours cost one read. */
export class ArchiveWindow {
  private start = 0;
  private bytes: Uint8Array = new Uint8Array();
  private windowBytes = LEAST_WINDOW_BYTES;

  constructor(private readonly archive: RangedArchive) {}

  get totalBytes(): number {
    return this.archive.totalBytes;
  }

  /** @param sizeBytes - At most 1 MiB. @throws UnlockError `unlock.archive-truncated` when the archive ends before. */
  async read(start: number, sizeBytes: number): Promise<Uint8Array> {
    const end = start + sizeBytes;
    if (end > this.totalBytes)
      throw new UnlockError('unlock.archive-truncated', 'The archive ended too early. Fetch or copy it again.');
    if (start < this.start || end > this.start + this.bytes.length) {
      const passedOver = start - (this.start + this.bytes.length);
      this.windowBytes =
        this.bytes.length > 0 && passedOver <= this.windowBytes
          ? Math.min(MOST_WINDOW_BYTES, this.windowBytes * WINDOW_GROWTH)
          : LEAST_WINDOW_BYTES;
      const windowEnd = Math.min(this.totalBytes, Math.max(end, start + this.windowBytes));
      this.bytes = await this.archive.read({ start, end: windowEnd });
      this.start = start;
    }
    return this.bytes.subarray(start - this.start, end - this.start);
  }
}

/**
 * Walks from header to header of a tar (POSIX ustar and pax, GNU long names) without reading what the files hold.
 *
 * @throws UnknownTarForm; UnlockError `unlock.archive-invalid` | `unlock.archive-truncated`; what the archive's reads throw.
 */
export async function* tarEntries(archive: ArchiveWindow): AsyncGenerator<TarEntry, void> {
  let at = 0;
  let start = 0;
  let extended: Extended = {};
  for (let headers = 0; at < archive.totalBytes; headers++) {
    if (headers === MAX_HEADERS) throw invalid('it holds too many files');
    const block = await archive.read(at, BLOCK_BYTES);
    if (block.every((byte) => byte === 0)) return;
    const header = parseHeader(block);
    const sizeBytes = extended.sizeBytes ?? header.sizeBytes;
    const content = { start: at + BLOCK_BYTES, end: at + BLOCK_BYTES + sizeBytes };
    const end = content.start + Math.ceil(sizeBytes / BLOCK_BYTES) * BLOCK_BYTES;
    if (end > archive.totalBytes)
      throw new UnlockError('unlock.archive-truncated', 'The archive ended too early. Fetch or copy it again.');
    at = end;
    if (header.type === 'x' || header.type === 'L') {
      if (sizeBytes > MAX_EXTENDED_HEADER_BYTES) throw invalid('it holds a header that is too long');
      const bytes = await archive.read(content.start, sizeBytes);
      extended = { ...extended, ...(header.type === 'x' ? parsePax(bytes) : { name: text(bytes) }) };
      continue;
    }
    const kind = KINDS.get(header.type);
    if (kind === undefined) throw new UnknownTarForm(`a file of the type ${header.type}`);
    yield { name: extended.name ?? header.name, kind, target: header.target, range: { start, end }, content };
    start = end;
    extended = {};
  }
}

/** Hard links and devices are no part of image archives. */
const KINDS: ReadonlyMap<string, TarEntry['kind']> = new Map([
  ['0', 'file'],
  ['\0', 'file'],
  ['7', 'file'],
  ['5', 'directory'],
  ['2', 'symlink'],
]);

interface Extended {
  readonly name?: string;
  readonly sizeBytes?: number;
}

interface TarHeader {
  readonly name: string;
  readonly sizeBytes: number;
  readonly type: string;
  readonly target: string;
}

function parseHeader(block: Uint8Array): TarHeader {
  if (number(block.subarray(CHECKSUM.start, CHECKSUM.end)) !== checksumOf(block)) throw invalid('it is not a tar file');
  const type = String.fromCharCode(block[156] ?? 0);
  const isUstar = text(block.subarray(257, 262)) === 'ustar' && block[262] === 0;
  const prefix = isUstar ? text(block.subarray(345, 500)) : '';
  const name = text(block.subarray(0, 100));
  return {
    name: prefix === '' ? name : `${prefix}/${name}`,
    // Links and directories have no content, whatever their header says.
    sizeBytes: type === '2' || type === '5' ? 0 : number(block.subarray(124, 136)),
    type,
    target: text(block.subarray(157, 257)),
  };
}

function checksumOf(block: Uint8Array): number {
  return block.reduce((sum, byte, index) => sum + (index >= CHECKSUM.start && index < CHECKSUM.end ? SPACE : byte), 0);
}

/** Octal text; GNU's binary form of numbers over 8 GiB is left to readers of the whole. */
function number(field: Uint8Array): number {
  if (((field[0] ?? 0) & 0x80) !== 0) throw new UnknownTarForm('a binary number');
  const digits = text(field).trim();
  if (!/^[0-7]*$/.test(digits)) throw invalid('it is not a tar file');
  return digits === '' ? 0 : parseInt(digits, 8);
}

/** Records `length key=value\n` (POSIX pax). Only a name and a size matter here. */
function parsePax(bytes: Uint8Array): Extended {
  let extended: Extended = {};
  for (let at = 0; at < bytes.length;) {
    const space = bytes.indexOf(SPACE, at);
    const length = Number(latin(bytes.subarray(at, space)));
    if (space < 0 || !Number.isSafeInteger(length) || length <= space - at || at + length > bytes.length)
      throw invalid('it holds a malformed header');
    const [key = '', ...value] = utf(bytes.subarray(space + 1, at + length - 1)).split('=');
    at += length;
    if (key === 'path') extended = { ...extended, name: value.join('=') };
    else if (key === 'size') extended = { ...extended, sizeBytes: paxSize(value.join('=')) };
    else if (key.startsWith('GNU.sparse') || key === 'linkpath') throw new UnknownTarForm(key);
  }
  return extended;
}

function paxSize(value: string): number {
  const sizeBytes = Number(value);
  if (!/^\d{1,15}$/.test(value) || !Number.isSafeInteger(sizeBytes)) throw invalid('it holds a malformed header');
  return sizeBytes;
}

function text(field: Uint8Array): string {
  const end = field.indexOf(0);
  return utf(end < 0 ? field : field.subarray(0, end));
}

function utf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('utf8');
}

function latin(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('latin1');
}
