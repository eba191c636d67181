import { type Culprit, DomainError } from '@azaion/kernel';

/** Every way in which an unlock can fail, and who has to act on it. */
export const UNLOCK_ERRORS = {
  'unlock.credentials-rejected': 'caller',
  'unlock.forbidden': 'caller', // this caller may not use the archive
  'unlock.api-unreachable': 'upstream',
  'unlock.archive-not-found': 'operator', // publish the archive, or put it on the device
  'unlock.key-not-found': 'operator', // the archive is not registered at the Admin API
  'unlock.archive-unreadable': 'operator', // the file on the device, its permissions or its disk
  'unlock.allow-list-invalid': 'operator', // the list of images that a legacy archive may hold
  'unlock.archive-invalid': 'publisher', // not an image archive, or not the one that was signed
  'unlock.archive-truncated': 'publisher', // it ends too early
  'unlock.archive-stalled': 'upstream', // no byte of the archive for too long
  'unlock.image-unsigned': 'attacker', // the archive holds an image that nobody signed for
  'unlock.image-missing': 'publisher', // the archive lacks an image that was signed for
  'unlock.image-mismatch': 'attacker', // what the engine holds is not what was signed
  'unlock.engine-not-installed': 'operator', // its command is not there
  'unlock.engine-unreachable': 'operator', // it does not answer
  'unlock.engine-forbidden': 'operator', // this process may not use the engine
  'unlock.engine-failed': 'operator', // it refused the images
  'unlock.engine-stalled': 'operator', // the engine took nothing for too long
  'unlock.plaintext-on-disk': 'operator', // the engine would copy the archive onto a disk
  'unlock.no-space': 'operator',
  'unlock.services-failed': 'operator', // the compose file, or the engine
  'unlock.services-unhealthy': 'publisher', // the previous ones are back
  'unlock.interrupted': 'operator', // the Loader stopped in the middle
  'unlock.cancelled': 'caller', // by somebody who may
  'unlock.not-running': 'caller',
  'unlock.failed': 'operator', // none of the above: the log has the cause
} as const satisfies Record<string, Culprit>;

/** Codes of the unlock lib. */
export type UnlockErrorCode = keyof typeof UNLOCK_ERRORS;

/** An unlock that could not be started or did not end well. */
export class UnlockError extends DomainError<UnlockErrorCode> {}
