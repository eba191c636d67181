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
} as const satisfies Record<string, Culprit>;

/** Codes of the identity lib. */
export type IdentityErrorCode = keyof typeof IDENTITY_ERRORS;

/** A person or device that was refused. */
export class IdentityError extends DomainError<IdentityErrorCode> {}
