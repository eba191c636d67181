import { gunzipSync, inflateSync, zstdDecompressSync } from 'node:zlib';

/** Something that lies in a store. */
export interface StoredBytes {
  /** Where it lies, for the report: a table's column, an object's name. */
  readonly where: string;
  readonly bytes: Uint8Array;
}

const MAX_UNPACKED_BYTES = 64 * 1024 * 1024;
const TEXT_RUN = /[A-Za-z0-9+/_-]{16,}={0,2}/g;
const HEX_RUN = /[0-9A-Fa-f]{16,}/g;
const MAGICS: readonly { readonly magic: readonly number[]; readonly unpack: (bytes: Uint8Array) => Buffer }[] = [
  {
    magic: [0x28, 0xb5, 0x2f, 0xfd],
    unpack: (bytes) => zstdDecompressSync(bytes, { maxOutputLength: MAX_UNPACKED_BYTES }),
  },
  { magic: [0x1f, 0x8b, 0x08], unpack: (bytes) => gunzipSync(bytes, { maxOutputLength: MAX_UNPACKED_BYTES }) },
];

/**
 * Everything an attacker reads from stored bytes without a key: the bytes, what their text encodes in hexadecimal or Base64, and what is
 * merely compressed.
 */
export function readings(stored: StoredBytes): StoredBytes[] {
  const found = [stored, ...decodedTexts(stored)];
  return [...found, ...found.flatMap(unpacked)];
}

function decodedTexts({ where, bytes }: StoredBytes): StoredBytes[] {
  if (!isText(bytes)) return [];
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
  return [...text.matchAll(TEXT_RUN)].flatMap(([run]) => {
    const base64 = startsOf(run).map((from) => ({
      where: `${where} (Base64)`,
      bytes: Buffer.from(run.slice(from), 'base64'),
    }));
    const hex = [...run.matchAll(HEX_RUN)].flatMap(([digits]) =>
      [0, 1].map((from) => ({ where: `${where} (hexadecimal)`, bytes: Buffer.from(digits.slice(from), 'hex') })),
    );
    return [...base64, ...hex];
  });
}

/** Where Base64 may begin in a run, by its place among the four letters of three bytes: a word may hang on before it, as in `k-AbC…` or `/kek/AbC…`. */
function startsOf(run: string): number[] {
  const separators = [...run.slice(0, 16).matchAll(/[-_/+]/g)].map(({ index }) => (index + 1) % 4);
  return [...new Set([0, ...separators])];
}

function unpacked({ where, bytes }: StoredBytes): StoredBytes[] {
  const results: StoredBytes[] = [];
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const attempt = (from: number, unpack: (part: Uint8Array) => Buffer): void => {
    try {
      results.push({ where: `${where} (unpacked at ${from})`, bytes: unpack(buffer.subarray(from)) });
    } catch {
      // Not a frame: three or four bytes look like one now and then.
    }
  };
  for (const { magic, unpack } of MAGICS) {
    const needle = Uint8Array.from(magic);
    for (let at = buffer.indexOf(needle); at !== -1; at = buffer.indexOf(needle, at + 1)) attempt(at, unpack);
  }
  if (buffer.length >= 2 && (buffer.readUInt8(0) & 0x0f) === 8 && buffer.readUInt16BE(0) % 31 === 0)
    attempt(0, (part) => inflateSync(part, { maxOutputLength: MAX_UNPACKED_BYTES })); // RFC 1950, "CMF" and "FLG"
  return results;
}

function isText(bytes: Uint8Array): boolean {
  return bytes.subarray(0, 4096).every((byte) => byte >= 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09);
}
