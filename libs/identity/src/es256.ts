import type { KeyObject } from 'node:crypto';

import { compactVerify } from 'jose';

import { IdentityError } from './errors.js';

/**
 * What an ES256 signature vouches for. Nothing in the token chooses the algorithm or the key; what its header says beyond that is the caller's to judge.
 *
 * @param token - Untrusted text, a compact JWS (RFC 7515).
 * @returns The payload, as it was signed.
 * @throws IdentityError `token.invalid`.
 */
export async function es256Payload(token: string, key: KeyObject): Promise<Uint8Array> {
  try {
    return (await compactVerify(token, key, { algorithms: ['ES256'] })).payload;
  } catch (cause) {
    throw new IdentityError('token.invalid', 'The signature of the access token is wrong.', { cause });
  }
}
