import { type Culprit, DomainError } from '@azaion/kernel';

/** Every way in which a person or device can be refused, and who has to act on it. */
export const IDENTITY_ERRORS = {
  'token.missing': 'caller',
  'token.invalid': 'caller', // signature, issuer, audience, type or form
  'token.expired': 'caller',
  'role.forbidden': 'caller',
  'folder.forbidden': 'caller',
  'folder.attestation-required': 'operator', // the device must prove where its keys live
  'login.wrong-credentials': 'caller', // one answer for unknown, wrong, disabled, locked
  'login.rate-limited': 'caller',
  'device.not-enrolled': 'operator',
  'device.already-enrolled': 'operator', // an administrator must reset it
  'device.proof-invalid': 'attacker',
  'device.revoked': 'operator',
  'device.key-store': 'operator', // the device's own keys cannot be read
  'device.hardware-changed': 'operator', // more than one part
  'device.hardware-unknown': 'operator', // too few parts
  'device.tpm-absent': 'operator', // no TPM, no tools, or no permission
  'device.tpm-busy': 'operator', // later
  'device.tpm-lockout': 'operator',
  'device.tpm-policy': 'operator', // another boot state than was signed
  'device.tpm-foreign': 'operator', // keys of another TPM
  'device.tpm-failed': 'operator',
  'attestation.malformed': 'attacker',
  'attestation.ek-untrusted': 'operator', // no maker that is trusted
  'attestation.ek-expired': 'operator',
  'attestation.key-attributes': 'attacker',
  'attestation.foreign-key': 'attacker',
  'attestation.wrong-nonce': 'attacker',
  'attestation.pcr-refused': 'operator',
  'attestation.replayed': 'attacker', // the nonce was used before
  'attestation.activation-failed': 'attacker', // the TPM does not hold what it spoke for
  'attestation.tpm-taken': 'operator', // the TPM stands for another device
} as const satisfies Record<string, Culprit>;

/** Codes of the identity lib. */
export type IdentityErrorCode = keyof typeof IDENTITY_ERRORS;

/** A person or device that was refused. */
export class IdentityError extends DomainError<IdentityErrorCode> {}
