import { createPublicKey, type KeyObject } from 'node:crypto';

/** A public token key as it stands in a JWK set (RFC 7517). */
export interface JwksKey {
  readonly kid: string;
  readonly publicKey: KeyObject;
}

/** Where the keys come from that sign access tokens: the Admin API's `/.well-known/jwks.json`, or the Admin API's own store. */
export abstract class JwksSource {
  /**
   * Fetches the current set.
   *
   * @returns The parsed JSON, unchecked: it is read with {@link parseJwks}.
   * @throws Any error of the source's own, such as `api.unreachable`.
   */
  abstract currentKeys(): Promise<unknown>;

  /** A copy of an earlier answer, unchecked likewise, for as long as no current set is to be had; `undefined` where none is kept. */
  keptKeys(): Promise<unknown> {
    return Promise.resolve(undefined);
  }
}

/** Largest number of keys read from one set; a rotation needs two or three. */
export const MAX_JWKS_KEYS = 32;
/** Largest accepted key id, in characters. */
export const MAX_KEY_ID_CHARS = 128;

/**
 * Reads a JWK set. Keys of other types, curves, uses or algorithms are skipped (RFC 7517 §5), so that a set may hold keys for others.
 *
 * @returns The P-256 signature keys; `undefined` when the value is not a JWK set, holds no such key, holds private members or the same `kid` twice.
 */
export function parseJwks(value: unknown): readonly JwksKey[] | undefined {
  const keys = isRecord(value) ? value['keys'] : undefined;
  if (!Array.isArray(keys) || keys.length > MAX_JWKS_KEYS) return undefined;
  const parsed: JwksKey[] = [];
  for (const jwk of keys as unknown[]) {
    if (!isRecord(jwk) || jwk['d'] !== undefined || jwk['k'] !== undefined) return undefined;
    const key = parseKey(jwk);
    if (key === undefined) continue;
    if (parsed.some(({ kid }) => kid === key.kid)) return undefined;
    parsed.push(key);
  }
  return parsed.length === 0 ? undefined : parsed;
}

function parseKey(jwk: Record<string, unknown>): JwksKey | undefined {
  const { kid, kty, crv, x, y, use, alg, key_ops: operations } = jwk;
  if (typeof kid !== 'string' || kid === '' || kid.length > MAX_KEY_ID_CHARS) return undefined;
  if (kty !== 'EC' || crv !== 'P-256' || typeof x !== 'string' || typeof y !== 'string') return undefined;
  if (operations !== undefined && !(Array.isArray(operations) && operations.includes('verify'))) return undefined;
  if ((use !== undefined && use !== 'sig') || (alg !== undefined && alg !== 'ES256')) return undefined;
  try {
    return { kid, publicKey: createPublicKey({ key: { kty, crv, x, y }, format: 'jwk' }) };
  } catch {
    return undefined; // not a point on the curve
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
