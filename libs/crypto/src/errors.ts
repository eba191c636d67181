import { type Culprit, DomainError } from '@azaion/kernel';

/** Every way in which bytes or signatures from outside can be refused, and who has to act on it. */
export const CRYPTO_ERRORS = {
  'chunk.invalid': 'publisher', // tag, hash or length is not what the recipe says
  'chunk.unsupported-codec': 'operator', // made by a newer one
  'segment.invalid': 'publisher', // a part of the recipe does not open
  'keys.invalid': 'caller', // not a P-256 key
  'keys.wrong-passphrase': 'caller', // wrong passphrase, or a damaged file
  'keys.kek-invalid': 'operator', // the file with the key-encryption keys is missing, damaged or readable by others
  'keys.wrapped-invalid': 'operator', // a wrapped key does not open under this KEK
  'statement.invalid': 'publisher', // not a statement, or its signature is not good
  'statement.key-unknown': 'operator', // the key document does not name the signing key
  'statement.scope': 'caller',
  'key-document.invalid': 'operator', // not one, or not signed by the root that is trusted
  'key-document.expired': 'operator', // it is out of date
  'key-document.rollback': 'attacker', // it is older than one that was seen
  'grant.invalid': 'upstream', // not a grant, or its signature is not good
  'grant.foreign-recipient': 'caller', // not a key that the grant can be for
  'grant.wrong-nonce': 'attacker', // it answers another request
  'grant.expired': 'caller',
  'grant.withdrawn': 'caller', // it lies below the lowest one still allowed
  'grant.not-for-statement': 'attacker', // it is for another version
  'legacy.invalid': 'caller', // a wrong key, or damage: deliberately one answer
} as const satisfies Record<string, Culprit>;

/** Codes of the crypto lib. */
export type CryptoErrorCode = keyof typeof CRYPTO_ERRORS;

/** Bytes, keys or signatures that were refused. Nothing of the refused content has been released. */
export class CryptoError extends DomainError<CryptoErrorCode> {}
