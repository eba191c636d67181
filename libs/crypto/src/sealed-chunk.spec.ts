import { randomBytes } from 'node:crypto';

import { chunkHash, deriveChunkKey } from './chunk-keys.js';
import { openChunk, sealChunk } from './sealed-chunk.js';

describe('openChunk', () => {
  it.each([1, 100_000, 524_288])('round-trips %i bytes', (sizeBytes) => {
    for (const plaintext of [randomBytes(sizeBytes), Buffer.alloc(sizeBytes, 7)]) {
      const h = chunkHash(plaintext);
      const secrets = { h, key: deriveChunkKey(randomBytes(32), h), plaintextBytes: sizeBytes };
      expect(openChunk(sealChunk(plaintext, secrets), secrets).equals(plaintext)).toBe(true);
    }
  });
});
