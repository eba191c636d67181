import { createDecipheriv } from 'node:crypto';
import { Readable } from 'node:stream';

import {
  LEGACY_RESOURCE_KEY,
  legacyAesKey,
  legacyEncrypt,
  legacyEncryptedBytes,
  legacySmallBytes,
  splitLegacy,
} from '@azaion/crypto';

const BLOCK_BYTES = 16;

/** The big part that the older format would put into the CDN for a plaintext. */
export async function legacyBigPart(plaintext: Uint8Array): Promise<Buffer> {
  const encrypted = Readable.from([plaintext]).pipe(legacyEncrypt(legacyAesKey(LEGACY_RESOURCE_KEY)));
  const { big } = await splitLegacy(encrypted, legacySmallBytes(legacyEncryptedBytes(plaintext.length)));
  const parts: Buffer[] = [];
  for await (const part of big as AsyncIterable<Buffer>) parts.push(part);
  return Buffer.concat(parts);
}

/**
 * Reads a legacy big part with the key that every user of the older system has: in CBC mode a block needs only the block before it, so the
 * missing small part hides nothing but itself and one block.
 */
export function openLegacyBigPart(big: Uint8Array): Buffer {
  const decipher = createDecipheriv('aes-256-cbc', legacyAesKey(LEGACY_RESOURCE_KEY), big.subarray(0, BLOCK_BYTES));
  decipher.setAutoPadding(false);
  const whole = big.length - (big.length % BLOCK_BYTES);
  return Buffer.concat([decipher.update(big.subarray(BLOCK_BYTES, whole)), decipher.final()]);
}
