import { isPublicJwk, keyThumbprint, pointFromJwk, type PublicJwk } from '@azaion/crypto';

/** The offline root key that key documents are verified with. */
export interface RootKey {
  readonly kid: string;
  readonly key: PublicJwk;
}

/**
 * Reads a root key from JSON: `{kty, crv, x, y}` with or without `kid`; without one it is the RFC 7638 thumbprint.
 *
 * @throws TypeError when it is not a public P-256 key. The message names no content.
 */
export async function parseRootKey(json: string): Promise<RootKey> {
  const { kid, key } = checkedKey(json);
  return { kid: kid ?? (await keyThumbprint(key)), key: { kty: 'EC', crv: 'P-256', x: key.x, y: key.y } };
}

/** What keeps a text from being a root key: a sentence that names no content; `undefined` when {@link parseRootKey} reads it. */
export function rootKeyProblem(json: string): string | undefined {
  try {
    checkedKey(json);
    return undefined;
  } catch (error) {
    return (error as TypeError).message;
  }
}

function checkedKey(json: string): { readonly kid: string | undefined; readonly key: PublicJwk } {
  let parsed: unknown;
  try {
    parsed = JSON.parse(json);
  } catch {
    throw new TypeError('The statement root key is not JSON.');
  }
  if (typeof parsed !== 'object' || parsed === null) throw notAKey();
  const { kid, use, alg, ...key } = parsed as Record<string, unknown>;
  if ((use !== undefined && use !== 'sig') || (alg !== undefined && alg !== 'ES256') || !isPublicJwk(key))
    throw notAKey();
  try {
    pointFromJwk(key);
  } catch {
    throw notAKey();
  }
  if (kid !== undefined && (typeof kid !== 'string' || kid === '' || kid.length > 128)) throw notAKey();
  return { kid, key };
}

function notAKey(): TypeError {
  return new TypeError('The statement root key is not a public P-256 key in JWK form.');
}
