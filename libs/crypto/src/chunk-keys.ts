import { hash } from 'node:crypto';

import { utf8 } from '@azaion/kernel';

import { hmacSha256 } from './primitives.js';

/** Length of a chunk's public id. */
export const CHUNK_ID_BYTES = 16;
/** Length of plaintext hashes, chunk keys and domain keys. */
export const KEY_BYTES = 32;

const KEY_LABEL = utf8('azaion-v2-key\0');
const ID_LABEL = utf8('azaion-v2-id\0');

/** SHA-256 of a chunk's plaintext: the `h` of the format. */
export function chunkHash(plaintext: Uint8Array): Buffer {
  return hash('sha256', plaintext, 'buffer');
}

/**
 * The key that seals one chunk: `HMAC-SHA-256(K, "azaion-v2-key" ‖ 0 ‖ h)`. Equal content in one dedup domain has an equal key,
 * which is what lets encrypted chunks be shared between versions. Source: docs/formats/sealed-resource.md, "Keys".
 *
 * @param domainKey - The dedup domain's 32-byte secret `K`.
 * @param h - {@link chunkHash} of the plaintext.
 */
export function deriveChunkKey(domainKey: Uint8Array, h: Uint8Array): Buffer {
  return hmacSha256(domainKey, KEY_LABEL, h);
}

/** The public name of a chunk in its dedup domain: `HMAC-SHA-256(K, "azaion-v2-id" ‖ 0 ‖ h)[0..16]`. It reveals nothing without `K`. */
export function deriveChunkId(domainKey: Uint8Array, h: Uint8Array): Buffer {
  return hmacSha256(domainKey, ID_LABEL, h).subarray(0, CHUNK_ID_BYTES);
}

/** The key of the dedup domain in which one device publishes: it never learns the folder's main key. */
export function deriveDeviceDomainKey(deviceRootKey: Uint8Array, deviceId: string): Buffer {
  return hmacSha256(deviceRootKey, utf8(deviceId));
}
