import { type Culprit, DomainError } from '@azaion/kernel';

/** What can go wrong in the Admin API alone, and who has to act on it. */
export const ADMIN_ERRORS = {
  'user.exists': 'caller',
  'user.email-too-short': 'caller',
  'user.email-invalid': 'caller',
  'user.password-too-short': 'caller',
  'user.not-found': 'caller',
  'user.disabled': 'operator',
  'user.last-administrator': 'caller',
  'user.of-device': 'caller', // it follows the device
  'login.no-such-account': 'caller', // where older clients are to be told apart
  'login.wrong-password': 'caller', // where older clients are to be told apart
  'login.account-disabled': 'caller', // where older clients are to be told apart
  'device.exists': 'caller',
  'device.not-found': 'caller',
  'group.not-found': 'caller',
  'desired.unavailable': 'caller', // names a version that is not there
  'device.key-required': 'caller', // a device uses its enrolled key, nothing else does
  'grant.not-found': 'caller',
  'version.withdrawn': 'caller',
  'version.pinned': 'caller', // take the pin away first
  'version.device-scope': 'caller', // promote it first
  'statement-key.document-refused': 'caller',
  'statement-key.document-older': 'caller',
  'statement-key.not-named': 'caller',
  'statement-key.own-root': 'caller', // a development API signs its key documents itself
  'legacy-file.not-found': 'caller',
  'key-fragment.not-found': 'caller',
  'archive.of-another': 'caller',
  'token-key.rotating': 'operator',
  'hashing.busy': 'operator', // more logins at once than this machine can hash
  'database.unavailable': 'operator', // PostgreSQL does not answer, is starting, or has no connection left
} as const satisfies Record<string, Culprit>;

/** Codes of the Admin API. */
export type AdminErrorCode = keyof typeof ADMIN_ERRORS;

/** A request that the Admin API refused. */
export class AdminError extends DomainError<AdminErrorCode> {}

/** Numbers that older clients read beside the code. Source: docs/reference/admin-http.md. */
export const BUSINESS_ERROR_NUMBERS: Readonly<Partial<Record<AdminErrorCode, number>>> = {
  'login.no-such-account': 10,
  'user.exists': 20,
  'login.wrong-password': 30,
  'user.password-too-short': 32,
  'user.email-too-short': 35,
  'user.email-invalid': 37,
  'login.account-disabled': 38,
  'legacy-file.not-found': 50,
};
