import { createHmac } from 'node:crypto';

import { type EcdhP256, pointFromJwk, type PublicJwk, verifyRaw } from '@azaion/crypto';
import { concatBytes, equalBytes, utf8 } from '@azaion/kernel';

import type { DeviceIdentity } from './device-identity.js';
import { IdentityError } from './errors.js';

const LABEL = utf8('azaion-enrol-v1\0');
/** Length of an enrolment nonce. */
export const ENROLMENT_NONCE_BYTES = 32;

/** The server's half of an enrolment. */
export interface EnrolmentChallenge {
  /** {@link ENROLMENT_NONCE_BYTES} bytes, good once. */
  readonly nonce: Uint8Array;
  /** 65-byte point of the server's ephemeral key. */
  readonly agreementPoint: Uint8Array;
  /** Whether the server looks at a TPM's evidence. */
  readonly isEvidenceAsked?: boolean;
}

/** A device's two public keys and the proofs that it holds both private halves. */
export interface EnrolmentProof {
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
 * Proves to the Admin API that this device holds both its private keys. Source: docs/reference/sealed-wire.md, "Devices".
 *
 * @throws IdentityError `device.key-store`.
 */
export async function proveEnrolment(
  identity: DeviceIdentity,
  serial: string,
  challenge: EnrolmentChallenge,
): Promise<EnrolmentProof> {
  const { nonce } = challenge;
  const signingKey = await identity.signingKey();
  const agreementKey = await identity.agreementPoint();
  const shared = await identity.ecdh(challenge.agreementPoint);
  return {
    nonce,
    signingKey,
    agreementKey,
    signingProof: await identity.sign(signedMessage(nonce, serial, agreementKey, signingKey)),
    agreementProof: agreementMac(shared, nonce, serial),
  };
}

/**
 * Checks both proofs. That the nonce was given out for this serial, lately and once, is the caller's to check.
 *
 * @param proof - Untrusted.
 * @param ephemeralEcdh - The server's ephemeral key of this challenge.
 * @throws IdentityError `device.proof-invalid`.
 */
export async function verifyEnrolment(serial: string, proof: EnrolmentProof, ephemeralEcdh: EcdhP256): Promise<void> {
  const { nonce, signingKey, agreementKey, signingProof, agreementProof } = proof;
  let holds: boolean;
  try {
    const shared = await ephemeralEcdh(agreementKey);
    holds =
      nonce.length === ENROLMENT_NONCE_BYTES &&
      !equalBytes(pointFromJwk(signingKey), agreementKey) && // one key must not do both
      verifyRaw(signingKey, signedMessage(nonce, serial, agreementKey, signingKey), signingProof) &&
      equalBytes(agreementMac(shared, nonce, serial), agreementProof);
  } catch (cause) {
    throw invalid(cause); // a key that is not on the curve
  }
  if (!holds) throw invalid();
}

function signedMessage(nonce: Uint8Array, serial: string, agreementKey: Uint8Array, signingKey: PublicJwk): Uint8Array {
  return concatBytes(LABEL, nonce, utf8(`${serial}\0`), agreementKey, pointFromJwk(signingKey));
}

function agreementMac(shared: Uint8Array, nonce: Uint8Array, serial: string): Uint8Array {
  const mac = createHmac('sha256', shared).update(concatBytes(LABEL, nonce, utf8(serial)));
  return new Uint8Array(mac.digest());
}

function invalid(cause?: unknown): IdentityError {
  return new IdentityError(
    'device.proof-invalid',
    'The proof of the device keys does not hold: start the enrolment again.',
    {
      cause,
    },
  );
}
