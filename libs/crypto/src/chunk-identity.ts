import { chunkHash, deriveChunkId, deriveChunkKey } from './chunk-keys.js';
import type { ChunkSecrets } from './sealed-chunk.js';

/** What a dedup domain makes of one plaintext. */
export interface ChunkIdentity extends ChunkSecrets {
  /** Public id in its dedup domain, 16 bytes. */
  readonly id: Uint8Array;
}

/** Hashes a plaintext and derives its key and id in a dedup domain: all that a publisher computes before sealing. */
export function identifyChunk(plaintext: Uint8Array, domainKey: Uint8Array): ChunkIdentity {
  const h = chunkHash(plaintext);
  return {
    h,
    key: deriveChunkKey(domainKey, h),
    id: deriveChunkId(domainKey, h),
    plaintextBytes: plaintext.length,
  };
}
