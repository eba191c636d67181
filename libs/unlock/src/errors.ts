import { type Culprit, DomainError } from '@azaion/kernel';

/** Every way in which an unlock can fail, and who has to act on it. */
export const UNLOCK_ERRORS = {
  'unlock.credentials-rejected': 'caller',
  'unlock.forbidden': 'caller', // this caller may not use the archive
  'unlock.api-unreachable': 'upstream',
  'unlock.archive-not-found': 'operator', // publish the archive, or put it on the device
  'unlock.key-not-found': 'operator', // the Admin API has no key for this archive: register the archive there
  'unlock.archive-unreadable': 'operator', // the file on the device, its permissions or its disk
  'unlock.allow-list-invalid': 'operator', // the list of images that a legacy archive may hold
  'unlock.archive-invalid': 'publisher', // not an image archive, or not the one that was signed
  'unlock.archive-truncated': 'publisher',
  'unlock.archive-stalled': 'upstream', // no byte of the archive for too long
  'unlock.image-unsigned': 'attacker', // the archive holds an image that nobody signed for
  'unlock.image-missing': 'publisher', // the archive lacks an image that was signed for
  'unlock.image-mismatch': 'attacker', // what the engine holds is not what was signed
  'unlock.engine-not-installed': 'operator',
  'unlock.engine-unreachable': 'operator',
  'unlock.engine-forbidden': 'operator', // this process may not use the engine
  'unlock.engine-failed': 'operator',
  'unlock.engine-stalled': 'operator', // the engine took nothing for too long
  'unlock.plaintext-on-disk': 'operator', // the engine would copy the archive onto a disk
  'unlock.no-space': 'operator',
  'unlock.services-failed': 'operator', // the services could not be started: the compose file, or the engine
  'unlock.services-unhealthy': 'publisher', // the new images run and are not healthy: the previous ones are back
  'unlock.interrupted': 'operator', // the Loader stopped in the middle: start again
  'unlock.cancelled': 'caller',
  'unlock.not-running': 'caller', // there is nothing to cancel
  'unlock.failed': 'operator', // none of the above: the log has the cause
} as const satisfies Record<string, Culprit>;

/** Codes of the unlock lib. */
export type UnlockErrorCode = keyof typeof UNLOCK_ERRORS;

/** An unlock that could not be started or did not end well. */
export class UnlockError extends DomainError<UnlockErrorCode> {}
