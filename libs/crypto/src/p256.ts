import {
  createECDH,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  ECDH,
  generateKeyPair,
  type KeyObject,
  sign,
  verify,
} from 'node:crypto';
import { promisify } from 'node:util';

import { calculateJwkThumbprint, importJWK } from 'jose';

import { concatBytes, equalBytes, fromBase64Url, toBase64Url } from '@azaion/kernel';

import { CryptoError } from './errors.js';
import {
  isPublicJwk,
  type PublicJwk,
  SIGNATURE_ALGORITHM,
  type SigningKey,
  type VerificationKey,
} from './signed-document.js';

/** Length of an uncompressed SEC1 point on P-256: `4 ‖ X(32) ‖ Y(32)`. */
export const P256_POINT_BYTES = 65;
/** Length of a raw ES256 signature: `r(32) ‖ s(32)` (RFC 7518 §3.4). */
export const ES256_SIGNATURE_BYTES = 64;
const CURVE = 'prime256v1'; // OpenSSL's name of P-256
const COORDINATE_BYTES = 32;
const UNCOMPRESSED = 4;

/** A P-256 private key with its public half. A secret: it does not redact itself. */
export interface PrivateJwk extends PublicJwk {
  /** The scalar, base64url of 32 bytes. */
  readonly d: string;
}

/** A P-256 key pair in the forms that documents, stores and HPKE need. */
export interface P256KeyPair {
  readonly privateJwk: PrivateJwk;
  readonly publicJwk: PublicJwk;
  /** The public key as a {@link P256_POINT_BYTES}-byte point. */
  readonly point: Uint8Array;
}

/**
 * The raw Diffie-Hellman step of the recipient: the 32-byte X coordinate of its private key times the given 65-byte point.
 * It is a function so that the private key may stay inside a TPM; it must refuse points that are not on the curve.
 */
export type EcdhP256 = (senderPoint: Uint8Array) => Promise<Uint8Array>;

/** A recipient of sealed secrets that lives as long as this process. */
export interface EphemeralRecipient {
  readonly point: Uint8Array;
  readonly ecdh: EcdhP256;
}

/** Makes a P-256 key pair from the platform's randomness, for ECDH or for ES256: one pair must not do both. */
export async function generateP256KeyPair(): Promise<P256KeyPair> {
  const { privateKey } = await promisify(generateKeyPair)('ec', { namedCurve: CURVE });
  const { x = '', y = '', d = '' } = privateKey.export({ format: 'jwk' });
  const publicJwk: PublicJwk = { kty: 'EC', crv: 'P-256', x, y };
  return { privateJwk: { ...publicJwk, d }, publicJwk, point: pointFromJwk(publicJwk) };
}

/** A recipient with a key made for one use, for callers without a device key. The private half never leaves the closure. */
export async function ephemeralRecipient(): Promise<EphemeralRecipient> {
  const { privateJwk, point } = await generateP256KeyPair();
  return { point, ecdh: softwareEcdh(privateJwk) };
}

/**
 * The 65-byte point of a public key. Other members (`kid`, `d`) are ignored.
 *
 * @param jwk - Untrusted.
 * @throws CryptoError `keys.invalid` when it is not a point on P-256.
 */
export function pointFromJwk(jwk: PublicJwk): Uint8Array {
  const point = concatBytes(Uint8Array.of(UNCOMPRESSED), coordinate(jwk.x), coordinate(jwk.y));
  assertOnCurve(point);
  return point;
}

/**
 * The public key of a 65-byte uncompressed point.
 *
 * @param point - Untrusted bytes.
 * @throws CryptoError `keys.invalid` when it has another form or is not on P-256.
 */
export function jwkFromPoint(point: Uint8Array): PublicJwk {
  assertOnCurve(point);
  const endOfX = 1 + COORDINATE_BYTES;
  return { kty: 'EC', crv: 'P-256', x: toBase64Url(point.subarray(1, endOfX)), y: toBase64Url(point.subarray(endOfX)) };
}

/** Whether a parsed JSON value is a {@link PrivateJwk} and nothing more, with two halves that belong together. */
export function isPrivateJwk(value: unknown): value is PrivateJwk {
  if (typeof value !== 'object' || value === null) return false;
  const { d, ...publicHalf } = value as Record<string, unknown>;
  if (typeof d !== 'string' || !isPublicJwk(publicHalf)) return false;
  try {
    assertPair({ ...publicHalf, d });
    return true;
  } catch {
    return false;
  }
}

/** The RFC 7638 thumbprint of a public key (SHA-256, base64url): its customary `kid`. Other members are ignored. */
export async function keyThumbprint({ kty, crv, x, y }: PublicJwk): Promise<string> {
  return calculateJwkThumbprint({ kty, crv, x, y }, 'sha256');
}

/**
 * Makes a private key ready for signing documents.
 *
 * @param kid - The id by which verifiers find the public half, usually its {@link keyThumbprint}.
 * @throws CryptoError `keys.invalid`.
 */
export async function importSigningKey(kid: string, privateJwk: PrivateJwk): Promise<SigningKey> {
  assertPair(privateJwk);
  const { kty, crv, x, y, d } = privateJwk;
  return { kid, privateKey: await importJWK({ kty, crv, x, y, d }, SIGNATURE_ALGORITHM) };
}

/**
 * Makes a public key ready for verifying documents.
 *
 * @throws CryptoError `keys.invalid` when it is not a point on P-256.
 */
export async function importVerificationKey(kid: string, publicJwk: PublicJwk): Promise<VerificationKey> {
  const jwk = jwkFromPoint(pointFromJwk(publicJwk));
  return { kid, publicKey: await importJWK({ ...jwk, kty: 'EC' }, SIGNATURE_ALGORITHM) };
}

/**
 * The Diffie-Hellman step of a private key that is held in this process.
 *
 * @returns A function that throws CryptoError `keys.invalid` for points that are not on P-256.
 * @throws CryptoError `keys.invalid` for a private key whose halves do not belong together.
 */
export function softwareEcdh(privateJwk: PrivateJwk): EcdhP256 {
  const privateKey = privateKeyObject(privateJwk);
  return async (senderPoint) => {
    const publicKey = publicKeyObject(jwkFromPoint(senderPoint));
    return Promise.resolve(new Uint8Array(diffieHellman({ privateKey, publicKey })));
  };
}

/**
 * Signs bytes with ES256 (ECDSA on P-256 with SHA-256).
 *
 * @returns `r ‖ s`, {@link ES256_SIGNATURE_BYTES} bytes.
 * @throws CryptoError `keys.invalid`.
 */
export function signRaw(privateJwk: PrivateJwk, message: Uint8Array): Uint8Array {
  return new Uint8Array(sign('sha256', message, { key: privateKeyObject(privateJwk), dsaEncoding: 'ieee-p1363' }));
}

/**
 * Whether an ES256 signature fits.
 *
 * @param signature - Untrusted bytes; anything but `r ‖ s` of {@link ES256_SIGNATURE_BYTES} bytes is not a signature.
 * @throws CryptoError `keys.invalid` when the key is not a point on P-256.
 */
export function verifyRaw(publicJwk: PublicJwk, message: Uint8Array, signature: Uint8Array): boolean {
  const key = publicKeyObject(jwkFromPoint(pointFromJwk(publicJwk)));
  return (
    signature.length === ES256_SIGNATURE_BYTES &&
    verify('sha256', message, { key, dsaEncoding: 'ieee-p1363' }, signature)
  );
}

function coordinate(text: string): Uint8Array {
  const bytes = fromBase64Url(text, COORDINATE_BYTES);
  if (bytes?.length !== COORDINATE_BYTES) throw invalidKey();
  return bytes;
}

function assertOnCurve(point: Uint8Array): void {
  if (point.length !== P256_POINT_BYTES || point[0] !== UNCOMPRESSED) throw invalidKey();
  try {
    ECDH.convertKey(point, CURVE);
  } catch (cause) {
    throw invalidKey(cause);
  }
}

/** OpenSSL takes a private key with somebody else's public half: signatures and HPKE would then fail far from the cause. */
function assertPair(jwk: PrivateJwk): void {
  const own = createECDH(CURVE);
  try {
    own.setPrivateKey(coordinate(jwk.d));
  } catch (cause) {
    throw invalidKey(cause);
  }
  if (!equalBytes(own.getPublicKey(), pointFromJwk(jwk))) throw invalidKey();
}

function privateKeyObject(jwk: PrivateJwk): KeyObject {
  assertPair(jwk);
  return createPrivateKey({ format: 'jwk', key: { ...jwk } });
}

function publicKeyObject(jwk: PublicJwk): KeyObject {
  return createPublicKey({ format: 'jwk', key: { ...jwk } });
}

function invalidKey(cause?: unknown): CryptoError {
  return new CryptoError('keys.invalid', 'The key is not a valid P-256 key.', { cause });
}
