import { createHmac } from 'node:crypto';

import { type EcdhP256, pointFromJwk, type PublicJwk, verifyRaw } from '@azaion/crypto';
import { IdentityError } from '@azaion/identity';
import { concatBytes, equalBytes, utf8 } from '@azaion/kernel';

const LABEL = utf8('azaion-enrol-v1\0');

/** A device's two public keys and the proofs that it holds both private halves. All of it untrusted. */
export interface EnrolmentProofs {
  readonly nonce: Uint8Array;
  readonly signingKey: PublicJwk;
  /** 65-byte point. */
  readonly agreementKey: Uint8Array;
  /** ES256, 64 bytes. */
  readonly signingProof: Uint8Array;
  /** HMAC-SHA-256, 32 bytes. */
  readonly agreementProof: Uint8Array;
}

/**
 * Checks both proofs of possession. Source: docs/reference/sealed-wire.md, "Devices".
 *
 * @param ephemeralEcdh - The server's ephemeral key of this challenge.
 * @throws IdentityError `device.proof-invalid`.
 */
export async function assertProofs(serial: string, proofs: EnrolmentProofs, ephemeralEcdh: EcdhP256): Promise<void> {
  const { nonce, signingKey, agreementKey, signingProof, agreementProof } = proofs;
  let signatureHolds: boolean;
  let shared: Uint8Array;
  let samePoint: boolean;
  try {
    const signingPoint = pointFromJwk(signingKey);
    samePoint = equalBytes(signingPoint, agreementKey);
    const message = concatBytes(LABEL, nonce, utf8(`${serial}\0`), agreementKey, signingPoint);
    signatureHolds = verifyRaw(signingKey, message, signingProof);
    shared = await ephemeralEcdh(agreementKey);
  } catch (cause) {
    throw invalidProof(cause);
  }
  const expected = createHmac('sha256', shared)
    .update(concatBytes(LABEL, nonce, utf8(serial)))
    .digest();
  if (samePoint || !signatureHolds || !equalBytes(expected, agreementProof)) throw invalidProof();
}

function invalidProof(cause?: unknown): IdentityError {
  return new IdentityError(
    'device.proof-invalid',
    'The proof of the device keys does not hold: start the enrolment again.',
    cause === undefined ? {} : { cause },
  );
}
