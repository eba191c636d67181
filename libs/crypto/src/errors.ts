import { type Culprit, DomainError } from '@azaion/kernel';

/** Every way in which bytes or signatures from outside can be refused, and who has to act on it. */
export const CRYPTO_ERRORS = {
  'chunk.invalid': 'publisher', // tag, hash or length is not what the recipe says
  'chunk.unsupported-codec': 'operator', // a newer release is needed
  'segment.invalid': 'publisher',
  'keys.invalid': 'caller', // not a P-256 key
  'keys.wrong-passphrase': 'caller',
  'keys.kek-invalid': 'operator', // the file with the key-encryption keys is missing, damaged or readable by others
  'keys.wrapped-invalid': 'operator', // a wrapped key does not open under this KEK
  'statement.invalid': 'publisher',
  'statement.key-unknown': 'operator', // the key document does not name the signing key
  'statement.scope': 'caller', // published for another device
  'key-document.invalid': 'operator',
  'key-document.expired': 'operator',
  'key-document.rollback': 'attacker',
  'grant.invalid': 'upstream',
  'grant.foreign-recipient': 'caller',
  'grant.wrong-nonce': 'attacker',
  'grant.expired': 'caller',
  'grant.withdrawn': 'caller', // the version lies below the lowest one still allowed
  'grant.not-for-statement': 'attacker',
  'legacy.invalid': 'caller', // wrong key or damaged content: deliberately one answer
} as const satisfies Record<string, Culprit>;

/** Codes of the crypto lib. */
export type CryptoErrorCode = keyof typeof CRYPTO_ERRORS;

/** Bytes, keys or signatures that were refused. Nothing of the refused content has been released. */
export class CryptoError extends DomainError<CryptoErrorCode> {}
