/** Version of the format that this release writes and reads. */
export const FORMAT_VERSION = 2;
/** Records in every segment but the last of its kind. */
export const RECORDS_PER_SEGMENT = 4096;
/** Length of `h(32) chunkKey(32) domain(2) packIndex(4) offset(4) sealedLength(4) plaintextLength(4)`. */
export const CHUNK_RECORD_BYTES = 82;
/** Length of `packId(16) size(4) sha256(32)`. */
export const PACK_RECORD_BYTES = 52;
/** Most chunk segments of one recipe: 8 TiB of average chunks. */
export const MAX_CHUNK_SEGMENTS = 16_384;
/** Most pack segments of one recipe: 262,144 packs, 8 TiB of full ones. */
export const MAX_PACK_SEGMENTS = 64;
/** Longest resource that fits the format's limits. */
export const MAX_TOTAL_BYTES = 2 ** 43;
/** Largest sealed segment. */
export const MAX_SEGMENT_BYTES = RECORDS_PER_SEGMENT * CHUNK_RECORD_BYTES + 28;
/** Largest sealed root. */
export const MAX_ROOT_BYTES = (MAX_CHUNK_SEGMENTS + MAX_PACK_SEGMENTS) * 34 + MAX_CHUNK_SEGMENTS * 9 + 1024;
