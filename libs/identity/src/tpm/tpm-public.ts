import { hash } from 'node:crypto';

import { jwkFromPoint, pointFromJwk, type PublicJwk } from '@azaion/crypto';
import { concatBytes, u32be } from '@azaion/kernel';

import { TPM_ALG, TPM_ECC_NIST_P256, TPMA_OBJECT } from './tpm-algorithms.js';
import { malformed, TpmReader } from './tpm-reader.js';

/** Longest public area that is read. */
export const MAX_PUBLIC_AREA_BYTES = 1024;
const MAX_DIGEST_BYTES = 64;
const MAX_MODULUS_BYTES = 512;
const MAX_COORDINATE_BYTES = 66;
const COORDINATE_BYTES = 32;
const DEFAULT_EXPONENT = 65_537;

/** The public half of a key as its TPM describes it (`TPMT_PUBLIC`). */
export interface TpmPublic {
  /** Bits of `TPMA_OBJECT`. */
  readonly attributes: number;
  /** Digest of the policy that permits its use; empty without one. */
  readonly authPolicy: Uint8Array;
  readonly key:
    | { readonly kind: 'ecc'; readonly scheme: number; readonly point: Uint8Array }
    | { readonly kind: 'rsa'; readonly scheme: number; readonly modulus: Uint8Array; readonly exponent: number };
  /** The key's `Name`: the hash algorithm, then the hash of the whole public area. */
  readonly name: Uint8Array;
}

/**
 * Reads a public area. Only what this system uses is accepted: RSA, and ECC on P-256, named with SHA-256.
 *
 * @param area - Untrusted: `TPMT_PUBLIC`, without the length in front of it.
 * @throws IdentityError `attestation.malformed`.
 */
export function parseTpmPublic(area: Uint8Array): TpmPublic {
  if (area.length > MAX_PUBLIC_AREA_BYTES) throw malformed();
  const reader = new TpmReader(area);
  const type = reader.u16();
  if (reader.u16() !== TPM_ALG.sha256) throw malformed();
  const attributes = reader.u32();
  const authPolicy = reader.sized(MAX_DIGEST_BYTES);
  const key = type === TPM_ALG.ecc ? eccKey(reader) : type === TPM_ALG.rsa ? rsaKey(reader) : undefined;
  if (key === undefined) throw malformed();
  reader.end();
  return { attributes, authPolicy, key, name: tpmName(area) };
}

/** Takes a public area out of its `TPM2B_PUBLIC`. @throws IdentityError `attestation.malformed`. */
export function publicAreaOf(sized: Uint8Array): Uint8Array {
  const reader = new TpmReader(sized);
  const area = reader.sized(MAX_PUBLIC_AREA_BYTES);
  reader.end();
  return area;
}

/** The `Name` of an object or index with this public area (Part 1, 16). */
export function tpmName(area: Uint8Array): Uint8Array {
  return concatBytes(u16be(TPM_ALG.sha256), hash('sha256', area, 'buffer'));
}

/** The public area under which a verification key is loaded into a TPM: P-256, for signatures only, no scheme of its own. */
export function verificationKeyArea(key: PublicJwk): Uint8Array {
  const point = pointFromJwk(key);
  const coordinates = [point.subarray(1, 1 + COORDINATE_BYTES), point.subarray(1 + COORDINATE_BYTES)];
  return concatBytes(
    u16be(TPM_ALG.ecc),
    u16be(TPM_ALG.sha256),
    u32be(TPMA_OBJECT.userWithAuth | TPMA_OBJECT.sign),
    u16be(0), // no policy
    u16be(TPM_ALG.null), // symmetric
    u16be(TPM_ALG.null), // scheme
    u16be(TPM_ECC_NIST_P256),
    u16be(TPM_ALG.null), // key derivation
    ...coordinates.map(sizedBytes),
  );
}

/** An unsigned 16-bit integer in big-endian order. */
export function u16be(value: number): Uint8Array {
  return Uint8Array.of(value >>> 8, value & 0xff);
}

/** A `TPM2B`: the length, then the bytes. */
export function sizedBytes(bytes: Uint8Array): Uint8Array {
  return concatBytes(u16be(bytes.length), bytes);
}

/** A point as `TPM2_ECDH_ZGen` takes it (`TPM2B_ECC_POINT`). @param point - 65 bytes; whether it is on the curve is the TPM's to check. */
export function pointToTpm(point: Uint8Array): Uint8Array {
  const [x, y] = [point.subarray(1, 1 + COORDINATE_BYTES), point.subarray(1 + COORDINATE_BYTES)];
  return sizedBytes(concatBytes(sizedBytes(x), sizedBytes(y)));
}

/** The X coordinate of a `TPM2B_ECC_POINT`, 32 bytes. @throws IdentityError `attestation.malformed`. */
export function xOfTpmPoint(bytes: Uint8Array): Uint8Array {
  const reader = new TpmReader(bytes);
  reader.u16();
  const x = coordinate(reader);
  coordinate(reader);
  reader.end();
  return x;
}

/** The signature `r ‖ s` of a `TPMT_SIGNATURE`, 64 bytes. Only ECDSA with SHA-256 is read. @throws IdentityError `attestation.malformed`. */
export function parseTpmSignature(bytes: Uint8Array): Uint8Array {
  const reader = new TpmReader(bytes);
  if (reader.u16() !== TPM_ALG.ecdsa || reader.u16() !== TPM_ALG.sha256) throw malformed();
  const signature = concatBytes(coordinate(reader), coordinate(reader));
  reader.end();
  return signature;
}

function eccKey(reader: TpmReader): TpmPublic['key'] {
  skipSymmetric(reader);
  const scheme = schemeOf(reader);
  if (reader.u16() !== TPM_ECC_NIST_P256) throw malformed();
  if (reader.u16() !== TPM_ALG.null) throw malformed(); // no TPM derives keys for us
  const x = coordinate(reader);
  const y = coordinate(reader);
  const point = concatBytes(Uint8Array.of(4), x, y);
  try {
    jwkFromPoint(point);
  } catch {
    throw malformed(); // not on the curve
  }
  return { kind: 'ecc', scheme, point };
}

function rsaKey(reader: TpmReader): TpmPublic['key'] {
  skipSymmetric(reader);
  const scheme = schemeOf(reader);
  const bits = reader.u16();
  const exponent = reader.u32();
  const modulus = reader.sized(MAX_MODULUS_BYTES);
  if (modulus.length * 8 !== bits || bits < 2048) throw malformed();
  return { kind: 'rsa', scheme, modulus, exponent: exponent === 0 ? DEFAULT_EXPONENT : exponent };
}

function skipSymmetric(reader: TpmReader): void {
  if (reader.u16() === TPM_ALG.null) return;
  reader.u16(); // bits
  reader.u16(); // mode
}

function schemeOf(reader: TpmReader): number {
  const scheme = reader.u16();
  if (scheme !== TPM_ALG.null && scheme !== TPM_ALG.rsaes) reader.u16(); // its hash
  if (scheme === TPM_ALG.ecdaa) reader.u16(); // its count
  return scheme;
}

/** An integer of the curve's size: TPMs may leave leading zero bytes out. */
function coordinate(reader: TpmReader): Uint8Array {
  const bytes = reader.sized(MAX_COORDINATE_BYTES);
  if (bytes.length > COORDINATE_BYTES) throw malformed();
  return concatBytes(new Uint8Array(COORDINATE_BYTES - bytes.length), bytes);
}
