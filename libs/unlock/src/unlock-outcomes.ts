import { DomainError } from '@azaion/kernel';

import { UNLOCK_ERRORS, UnlockError, type UnlockErrorCode } from './errors.js';

/** The services could not be started, for a reason that may pass. */
export const SERVICES_FAILED: UnlockErrorCode = 'unlock.services-failed';

/** Why a run ended, as the status tells it and the record keeps it. */
export interface OutcomeText {
  readonly code: string;
  readonly message: string;
}

/** What everybody may be told of an error; what nobody expected is only in the log. */
export function outcomeOf(error: unknown): OutcomeText {
  return isDomainError(error)
    ? { code: error.code, message: error.message }
    : { code: 'unlock.failed', message: 'The unlock failed for a reason that it did not expect; see the log.' };
}

/** The outcome of a run that the process did not live to end. */
export function interrupted(): UnlockError {
  return new UnlockError('unlock.interrupted', 'The Loader stopped while it was unlocking. Start the unlock again.');
}

/** The answer for images with which the services were not healthy. */
export function refused(): UnlockError {
  return new UnlockError(
    'unlock.services-unhealthy',
    'The services were not healthy with these images, and the device does not try them again by itself. Publish images that work, or start the unlock by hand.',
  );
}

/** The answer for images from which the services could not be started a while ago. */
export function putOff(): UnlockError {
  return new UnlockError(
    SERVICES_FAILED,
    'The services could not be started from these images. The device tries them again by itself, each time later; start the unlock by hand to try at once.',
  );
}

/** Whether it is {@link SERVICES_FAILED}. */
export function isServicesFailed(error: unknown): boolean {
  return error instanceof UnlockError && error.code === SERVICES_FAILED;
}

/** What only the caller can act on is the answer to the call; everything else is the outcome of the run. */
export function isCallersAnswer(error: unknown): error is UnlockError {
  return error instanceof UnlockError && (UNLOCK_ERRORS[error.code] === 'caller' || isNotFound(error));
}

/** Whether nobody could be reached. */
export function isNoLink(error: unknown): boolean {
  return isDomainError(error) && NO_LINK.includes(error.code);
}

/** Whether nobody could say what the newest archive is: the newest that was seen is then the newest that this device may use. */
export function isUnseen(error: unknown): boolean {
  return isNoLink(error) || (error instanceof UnlockError && isNotFound(error));
}

const NO_LINK: readonly string[] = ['unlock.api-unreachable', 'api.unreachable', 'cdn.unavailable'];

function isNotFound(error: UnlockError): boolean {
  return error.code === 'unlock.archive-not-found';
}

function isDomainError(error: unknown): error is DomainError {
  return error instanceof DomainError;
}
