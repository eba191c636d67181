/** Entry point for threads that work on chunks: each loads this part of the library only, which saves it tens of megabytes. */
export { type ChunkIdentity, identifyChunk } from './chunk-identity.js';
export { CHUNK_ID_BYTES, KEY_BYTES } from './chunk-keys.js';
export { openChunkRun, plaintextBytesOf, type SealedPlace } from './chunk-run.js';
export { CryptoError, type CryptoErrorCode } from './errors.js';
export { type ChunkSecrets, openChunk, sealChunk } from './sealed-chunk.js';
