import { type CryptoKey, CompactSign, compactVerify, decodeProtectedHeader, type JWK } from 'jose';

import { equalBytes, fromBase64Url, toBase64Url, utf8 } from '@azaion/kernel';

/** The signature algorithm of every signed document: ECDSA on P-256 with SHA-256 (RFC 7518 §3.4). Pinned; never read from a header. */
export const SIGNATURE_ALGORITHM = 'ES256';
/** Largest signed document accepted, in characters. */
export const MAX_SIGNED_DOCUMENT_CHARS = 256 * 1024;

const COORDINATE_BYTES = 32;
const MAX_KEY_ID_CHARS = 128;

/** A private signing key with the id by which verifiers find its public half. */
export interface SigningKey {
  readonly kid: string;
  readonly privateKey: CryptoKey;
}

/** A trusted public key. */
export interface VerificationKey {
  readonly kid: string;
  readonly publicKey: CryptoKey;
}

/** A public key as it stands in documents and key sets: P-256 only. */
export interface PublicJwk {
  readonly kty: 'EC';
  readonly crv: 'P-256';
  readonly x: string;
  readonly y: string;
}

/** Whether a value can be a key id: a text of 1 to 128 characters. */
export function isKeyId(value: unknown): value is string {
  return typeof value === 'string' && value.length > 0 && value.length <= MAX_KEY_ID_CHARS;
}

/** Whether a parsed JSON value is a {@link PublicJwk} and nothing more. Whether the point is on the curve shows at the import. */
export function isPublicJwk(value: unknown): value is PublicJwk & JWK {
  if (typeof value !== 'object' || value === null) return false;
  const jwk = value as Record<string, unknown>;
  return (
    Object.keys(jwk).length === 4 &&
    jwk['kty'] === 'EC' &&
    jwk['crv'] === 'P-256' &&
    isCoordinate(jwk['x']) &&
    isCoordinate(jwk['y'])
  );
}

function isCoordinate(value: unknown): boolean {
  return typeof value === 'string' && fromBase64Url(value, COORDINATE_BYTES)?.length === COORDINATE_BYTES;
}

/**
 * Signs a JSON document as a compact JWS (RFC 7515) with header `alg`, `kid`, `typ` and nothing else.
 *
 * @throws RangeError for a document longer than {@link MAX_SIGNED_DOCUMENT_CHARS}, which no verifier would take.
 */
export async function signDocument(payload: object, typ: string, key: SigningKey): Promise<string> {
  const jws = await new CompactSign(utf8(JSON.stringify(payload)))
    .setProtectedHeader({ alg: SIGNATURE_ALGORITHM, kid: key.kid, typ })
    .sign(key.privateKey);
  if (jws.length > MAX_SIGNED_DOCUMENT_CHARS) throw new RangeError('the document is too long to be verified');
  return jws;
}

/**
 * The unverified `kid` of a compact JWS whose header is, byte for byte, the one {@link signDocument} writes; `undefined` for every other
 * text. So `crit`, `jku`, `x5u`, `jwk`, `b64`, other algorithms, other types and members given twice never reach a decision.
 */
export function documentKeyId(jws: string, typ: string): string | undefined {
  if (jws.length > MAX_SIGNED_DOCUMENT_CHARS) return undefined;
  try {
    const { kid } = decodeProtectedHeader(jws);
    return isKeyId(kid) && jws.startsWith(`${headerText(kid, typ)}.`) ? kid : undefined;
  } catch {
    return undefined;
  }
}

/** The first part of every compact JWS that {@link signDocument} makes with this key: two documents with the same one name the same key. */
export function headerText(kid: string, typ: string): string {
  return toBase64Url(utf8(JSON.stringify({ alg: SIGNATURE_ALGORITHM, kid, typ })));
}

/**
 * Verifies a compact JWS with one given key.
 *
 * @param jws - Untrusted text.
 * @param key - The pinned key; its id must be the header's. `undefined` where there is none: nothing verifies.
 * @returns The parsed payload, authentic but with its members still unchecked; `undefined` when the signature, the header or the encoding is not as it must be.
 */
export async function verifyDocument(jws: string, typ: string, key: VerificationKey | undefined): Promise<unknown> {
  if (key === undefined || documentKeyId(jws, typ) !== key.kid) return undefined;
  try {
    const { payload } = await compactVerify(jws, key.publicKey, { algorithms: [SIGNATURE_ALGORITHM] });
    const text = new TextDecoder('utf-8', { fatal: true }).decode(payload);
    const parsed = JSON.parse(text) as unknown;
    // One text per document: duplicate members, other spacing and other escapes are refused.
    return equalBytes(utf8(JSON.stringify(parsed)), payload) && hasCanonicalEncoding(jws) ? parsed : undefined;
  } catch {
    return undefined;
  }
}

/** Base64url has loose trailing bits; a changed bit there must not go unnoticed. */
function hasCanonicalEncoding(jws: string): boolean {
  return jws.split('.').every((part) => Buffer.from(part, 'base64url').toString('base64url') === part);
}
