const MAGIC = 0xfd2f_b528;
const HEADER_AT = 4;
const BLOCK_HEADER_BYTES = 3;
const CHECKSUM_BYTES = 4;
const BLOCK_RLE = 1;
const BLOCK_RESERVED = 3;

/**
 * Whether bytes are the outline of exactly one zstd frame without a dictionary (RFC 8878 §3.1.1): nothing before it, nothing behind it.
 * Decoders go on with further frames and skip the skippable ones silently, so the end is found here. What stands in the blocks is the decoder's to check.
 *
 * @param bytes - Untrusted; nothing is allocated.
 */
export function isSingleZstdFrame(bytes: Buffer): boolean {
  if (bytes.length <= HEADER_AT || bytes.readUInt32LE(0) !== MAGIC) return false;
  const descriptor = bytes.readUInt8(HEADER_AT);
  if ((descriptor & 0b1011) !== 0) return false; // the reserved bit, the dictionary flag
  const singleSegment = (descriptor & 0b10_0000) !== 0;
  const contentSizeFlag = descriptor >> 6;
  const contentSizeBytes = contentSizeFlag === 0 ? Number(singleSegment) : 1 << contentSizeFlag;
  let at = HEADER_AT + 1 + Number(!singleSegment) + contentSizeBytes;
  for (let last = false; !last;) {
    if (at + BLOCK_HEADER_BYTES > bytes.length) return false;
    const header = bytes.readUIntLE(at, BLOCK_HEADER_BYTES);
    const type = (header >> 1) & 3;
    if (type === BLOCK_RESERVED) return false;
    last = (header & 1) === 1;
    at += BLOCK_HEADER_BYTES + (type === BLOCK_RLE ? 1 : header >> 3);
  }
  const hasChecksum = (descriptor & 0b100) !== 0;
  return at + (hasChecksum ? CHECKSUM_BYTES : 0) === bytes.length;
}
