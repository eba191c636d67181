import type { DomainError } from '@azaion/kernel';
import type { ProblemOptions, ProblemSpec } from '@azaion/nest-support';

import { type AdminErrorCode, BUSINESS_ERROR_NUMBERS } from '../errors.js';

/** HTTP status and title of each code. */
const ADMIN_PROBLEMS: Readonly<Record<AdminErrorCode, ProblemSpec>> = {
  'user.exists': { status: 409, title: 'Account exists' },
  'user.email-too-short': { status: 400, title: 'E-mail address too short' },
  'user.email-invalid': { status: 400, title: 'E-mail address not valid' },
  'user.password-too-short': { status: 400, title: 'Password too short' },
  'user.not-found': { status: 404, title: 'Account not found' },
  'user.disabled': { status: 403, title: 'Account disabled' },
  'user.last-administrator': { status: 409, title: 'Last administrator' },
  'user.of-device': { status: 409, title: 'Account of a device' },
  'login.no-such-account': { status: 409, title: 'Account not found' },
  'login.wrong-password': { status: 409, title: 'Wrong password' },
  'login.account-disabled': { status: 409, title: 'Account disabled' },
  'device.exists': { status: 409, title: 'Device exists' },
  'device.not-found': { status: 404, title: 'Device not found' },
  'group.not-found': { status: 404, title: 'Group not found' },
  'desired.unavailable': { status: 422, title: 'Desired state refused' },
  'device.key-required': { status: 403, title: 'Recipient key refused' },
  'version.withdrawn': { status: 409, title: 'Version withdrawn' },
  'version.pinned': { status: 409, title: 'Version pinned' },
  'version.device-scope': { status: 409, title: 'Published for one device' },
  'grant.not-found': { status: 404, title: 'Grant not found' },
  'statement-key.document-refused': { status: 422, title: 'Key document refused' },
  'statement-key.document-older': { status: 409, title: 'Key document is not newer' },
  'statement-key.not-named': { status: 422, title: 'Key document names no key of this API' },
  'statement-key.own-root': { status: 409, title: 'This API has its own root' },
  'legacy-file.not-found': { status: 404, title: 'File not found' },
  'key-fragment.not-found': { status: 404, title: 'Archive not registered' },
  'archive.of-another': { status: 409, title: 'Archive exists' },
  'token-key.rotating': { status: 409, title: 'Rotation under way' },
  'hashing.busy': { status: 503, title: 'Too busy' },
  'database.unavailable': { status: 503, title: 'Not available' },
};

/** The Admin API's part of the problem documents: its own codes, and the numbers that older clients read. */
export const adminProblemOptions: ProblemOptions = {
  problems: ADMIN_PROBLEMS,
  extend: numbersForOlderClients,
};

function numbersForOlderClients(error: DomainError): Readonly<Record<string, unknown>> {
  const number = (BUSINESS_ERROR_NUMBERS as Readonly<Record<string, number | undefined>>)[error.code];
  return number === undefined ? {} : { ErrorCode: number, Message: error.message };
}
