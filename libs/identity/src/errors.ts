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
  'clock.wrong': 'operator', // a token that was just issued is not valid by it
  'device.not-enrolled': 'operator',
  'device.already-enrolled': 'operator', // an administrator must reset it
  'device.proof-invalid': 'attacker', // it does not hold the keys that it shows, or they are another device's
  'device.revoked': 'operator',
  'device.key-store': 'operator', // the device's own keys cannot be read
  'device.hardware-changed': 'operator', // more than one part of the machine is another
  'device.hardware-unknown': 'operator', // too few parts of the machine can be told
  'device.tpm-absent': 'operator', // no TPM, no tools, or no permission
  'device.tpm-busy': 'operator', // another program holds the TPM
  'device.tpm-lockout': 'operator', // the TPM was locked by wrong passwords
  'device.tpm-policy': 'operator', // another boot state than was signed
  'device.tpm-foreign': 'operator', // keys of another TPM
  'device.tpm-failed': 'operator', // the TPM answered with an error that has no code here
  'attestation.malformed': 'attacker', // it cannot be read
  'attestation.ek-untrusted': 'operator', // no maker that is trusted
  'attestation.ek-expired': 'operator', // the certificate of the TPM is out of date
  'attestation.key-attributes': 'attacker', // the keys could leave the TPM, or are of the wrong kind
  'attestation.foreign-key': 'attacker', // the keys were not made in this TPM
  'attestation.wrong-nonce': 'attacker', // it was made for another enrolment
  'attestation.pcr-refused': 'operator', // the boot state is none that may enrol
  'attestation.replayed': 'attacker', // the nonce was used before
  'attestation.activation-failed': 'attacker', // the TPM does not hold what it spoke for
  'attestation.tpm-taken': 'operator', // the TPM stands for another device
} as const satisfies Record<string, Culprit>;

/** Codes of the identity lib. */
export type IdentityErrorCode = keyof typeof IDENTITY_ERRORS;

/** A person or device that was refused. */
export class IdentityError extends DomainError<IdentityErrorCode> {}
