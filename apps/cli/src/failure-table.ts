import type { CryptoErrorCode } from '@azaion/crypto';
import type { IdentityErrorCode } from '@azaion/identity';
import { DomainError, type NameErrorCode } from '@azaion/kernel';
import type { ResourceErrorCode } from '@azaion/split-resource';
import type { UnlockErrorCode } from '@azaion/unlock';

import { CliFailure } from './cli-failure.js';
import type { ExitName } from './exit-codes.js';
import { remedyFor } from './remedies.js';

/** Codes of the domain that reach this command. */
export type KnownErrorCode = ResourceErrorCode | CryptoErrorCode | IdentityErrorCode | NameErrorCode | UnlockErrorCode;

/** Codes that have a row here. */
export type ErrorCode = KnownErrorCode | keyof typeof OWN_EXITS;

/** What each way to end means and what helps, unless a code says it better. */
const ADVICE: Readonly<Record<ExitName, { meaning: string; next: string }>> = {
  ok: { meaning: '', next: '' },
  internal: {
    meaning: 'This is a fault in the software, not in your input.',
    next: 'Run it again; if it stays, report it with the output of the command and --verbose.',
  },
  usage: {
    meaning: 'The command was not carried out; nothing was changed.',
    next: 'Run the command with --help to see what it takes.',
  },
  forbidden: {
    meaning: 'You are not logged in, or this account may not do this.',
    next: 'Run "azaion login"; if you are logged in, ask an administrator for the permission.',
  },
  'not-found': {
    meaning: 'There is nothing of that name that you may see.',
    next: 'Check folder, name and version for typing mistakes.',
  },
  network: {
    meaning: 'A service this command needs does not answer. What was transferred so far is kept and not sent again.',
    next: 'Check the URL and the connection, then run the same command again.',
  },
  integrity: {
    meaning: 'The content is damaged or was tampered with. Nothing of the bad part was written.',
    next: 'Do not use other copies from the same source; tell the publisher and the operator.',
  },
  'no-space': {
    meaning: 'The content does not fit. Nothing incomplete was left behind.',
    next: 'Free space, or choose another place, and run the same command again.',
  },
  refused: {
    meaning: 'The request was understood and turned down; nothing was changed.',
    next: 'Change what the reason names, then run the command again.',
  },
  'unlock-failed': {
    meaning: 'The images were not loaded completely and are not to be used.',
    next: 'Remove the cause named above, then run "azaion unlock" again: it starts afresh.',
  },
  outdated: {
    meaning:
      'The content was made by a newer release than this one. Nothing is wrong with it, and nothing was written.',
    next: 'Update azaion to a newer release and run the same command again.',
  },
  interrupted: {
    meaning: 'Nothing became visible. What was transferred so far is kept and not sent again.',
    next: 'Run the same command again to go on.',
  },
};

/** One row for every code: a new code without a row does not compile. */
const EXITS = {
  'resource.not-found': 'not-found',
  'resource.forbidden': 'forbidden',
  'resource.rollback-refused': 'refused',
  'resource.integrity': 'integrity',
  'resource.unsupported-format': 'outdated',
  'resource.no-space': 'no-space',
  'resource.range-invalid': 'usage',
  'resource.too-large': 'refused',
  'bundle.invalid': 'integrity',
  'bundle.unsupported-format': 'outdated',
  'bundle.not-for-device': 'refused',
  'recipe.invalid': 'integrity',
  'pack.not-found': 'network',
  'pack.truncated': 'network',
  'pack.forbidden': 'network',
  'pack.unavailable': 'network',
  'pack.exists': 'refused',
  'cdn.missing': 'network',
  'cdn.unavailable': 'network',
  'api.unauthorized': 'forbidden',
  'api.forbidden': 'forbidden',
  'api.unreachable': 'network',
  'api.unexpected': 'internal',
  'api.grant-gone': 'network',
  'upload.not-found': 'refused',
  'upload.conflict': 'refused',
  'upload.pack-gone': 'refused',
  'upload.refused': 'refused',
  'upload.quota-exceeded': 'refused',
  'upload.too-many-drafts': 'refused',
  'chunk.invalid': 'integrity',
  'chunk.unsupported-codec': 'outdated',
  'segment.invalid': 'integrity',
  'keys.wrapped-invalid': 'internal',
  'keys.wrong-passphrase': 'forbidden',
  'keys.kek-invalid': 'internal',
  'statement.invalid': 'integrity',
  'statement.key-unknown': 'integrity',
  'statement.scope': 'forbidden',
  'key-document.invalid': 'integrity',
  'key-document.expired': 'integrity',
  'key-document.rollback': 'integrity',
  'grant.invalid': 'integrity',
  'grant.foreign-recipient': 'integrity',
  'grant.wrong-nonce': 'integrity',
  'grant.expired': 'forbidden',
  'grant.withdrawn': 'refused',
  'grant.not-for-statement': 'integrity',
  'legacy.invalid': 'integrity',
  'keys.invalid': 'integrity',
  'token.missing': 'forbidden',
  'token.invalid': 'forbidden',
  'token.expired': 'forbidden',
  'role.forbidden': 'forbidden',
  'folder.forbidden': 'forbidden',
  'folder.attestation-required': 'forbidden',
  'login.wrong-credentials': 'forbidden',
  'login.rate-limited': 'refused',
  'clock.wrong': 'refused',
  'device.not-enrolled': 'forbidden',
  'device.already-enrolled': 'refused',
  'device.proof-invalid': 'forbidden',
  'device.revoked': 'forbidden',
  'device.key-store': 'internal',
  'device.hardware-changed': 'refused',
  'device.hardware-unknown': 'refused',
  'device.tpm-absent': 'refused',
  'device.tpm-busy': 'refused',
  'device.tpm-lockout': 'refused',
  'device.tpm-policy': 'refused',
  'device.tpm-foreign': 'refused',
  'device.tpm-failed': 'refused',
  'attestation.malformed': 'refused',
  'attestation.ek-untrusted': 'refused',
  'attestation.ek-expired': 'refused',
  'attestation.key-attributes': 'refused',
  'attestation.foreign-key': 'refused',
  'attestation.wrong-nonce': 'refused',
  'attestation.pcr-refused': 'refused',
  'attestation.replayed': 'refused',
  'attestation.activation-failed': 'refused',
  'attestation.tpm-taken': 'refused',
  'name.invalid': 'usage',
  'unlock.credentials-rejected': 'forbidden',
  'unlock.forbidden': 'forbidden',
  'unlock.api-unreachable': 'network',
  'unlock.archive-not-found': 'not-found',
  'unlock.archive-invalid': 'refused',
  'unlock.archive-truncated': 'refused',
  'unlock.key-not-found': 'not-found',
  'unlock.archive-unreadable': 'unlock-failed',
  'unlock.allow-list-invalid': 'unlock-failed',
  'unlock.services-failed': 'unlock-failed',
  'unlock.services-unhealthy': 'unlock-failed',
  'unlock.archive-stalled': 'network',
  'unlock.image-unsigned': 'integrity',
  'unlock.image-missing': 'integrity',
  'unlock.image-mismatch': 'integrity',
  'unlock.engine-not-installed': 'unlock-failed',
  'unlock.engine-unreachable': 'unlock-failed',
  'unlock.engine-forbidden': 'unlock-failed',
  'unlock.engine-failed': 'unlock-failed',
  'unlock.engine-stalled': 'unlock-failed',
  'unlock.plaintext-on-disk': 'unlock-failed',
  'unlock.no-space': 'no-space',
  'unlock.interrupted': 'unlock-failed',
  'unlock.cancelled': 'unlock-failed',
  'unlock.not-running': 'refused',
  'unlock.failed': 'unlock-failed',
} as const satisfies Record<KnownErrorCode, ExitName>;

/** What only this command says. */
const OWN_EXITS = {
  'cli.usage': 'usage', // the command line is not valid; nothing was done
  'cli.not-logged-in': 'forbidden', // nobody has logged in, or the login has expired
  'cli.interrupted': 'interrupted', // stopped by Ctrl-C or SIGTERM
  'cli.internal': 'internal', // something that nobody foresaw
  'file.unusable': 'usage', // a file or directory cannot be read or written: not there, not permitted, read-only
  'file.no-space': 'no-space', // the disk, or the quota on it, is full
  'profile.exposed': 'forbidden', // other users of the machine can read the tokens
  'profile.invalid': 'usage', // the profile is damaged
  'service.unreachable': 'network', // nothing listens there, the name is not known, the certificate is not trusted, or no answer comes
  'service.unexpected': 'internal', // an answer outside the contract: perhaps another kind of service
  'service.cut-off': 'network', // the service ended a transfer early
  'trust.no-root': 'integrity', // it is not known whose signatures to trust
  'trust.root-invalid': 'usage', // the file holds no public root key
  'keys.exposed': 'forbidden', // other users of the machine can read the private key
  'audit.broken': 'integrity', // the chain of the audit log was changed
  'group.exists': 'refused', // there is a group of this name
  'desired.not-set': 'not-found', // what is to be taken back was not wished for
  'device.no-conf': 'not-found', // there is no device.conf
  'device.conf-unreadable': 'forbidden', // this user may not read device.conf
  'device.bad-conf': 'usage', // device.conf is not valid
  'doctor.fails': 'refused', // at least one check of "azaion doctor" fails
  'provision.other-device': 'refused', // the directory has the device.conf of another device
  'provision.unknown-device': 'refused', // device.conf names a device that this Admin API does not know
  'provision.enrolled': 'refused', // the device has enrolled: a password would open nothing
  'provision.revoked': 'refused', // the device was revoked
  'provision.conf-damaged': 'refused', // device.conf is there and is not valid
  'prove-split.no-database': 'network', // the database of the Admin API does not answer
  'prove-split.failed': 'integrity', // an attack recovered something, or a control found nothing
} as const satisfies Record<string, ExitName>;

/** How a refusal ends whose code has no row, by its HTTP status. What is not here: `refused` below 500, `internal` from there. */
const EXITS_BY_HTTP_STATUS: Readonly<Record<number, ExitName>> = {
  400: 'usage',
  422: 'usage',
  401: 'forbidden',
  403: 'forbidden',
  404: 'not-found',
  410: 'not-found',
  502: 'network',
  503: 'network',
  504: 'network',
  507: 'no-space',
};

/** What a failure has beside its code and sentence. */
interface FailureOptions {
  /** What to do next, where the case says more than the code. */
  readonly next?: string | undefined;
  readonly cause?: unknown;
}

/** Ends a command with a code; what helps is what the table says unless it is given. */
export function failure(code: ErrorCode, message: string, options: FailureOptions = {}): CliFailure {
  return endedWith({ ...OWN_EXITS, ...EXITS }[code], code, message, options);
}

/** Ends a command with what a service refused it for. @param code - May be unknown here: then the status counts. */
export function refusal(status: number, code: string, message: string, next?: string): CliFailure {
  if (isKnown(code)) return failure(code, message, { next });
  return endedWith(EXITS_BY_HTTP_STATUS[status] ?? (status < 500 ? 'refused' : 'internal'), code, message, { next });
}

/** Ends a command with an unlock that has failed, whatever its code. */
export function unlockFailure(code: string, message: string): CliFailure {
  return endedWith('unlock-failed', code, message, {});
}

function endedWith(exit: ExitName, code: string, message: string, { next, cause }: FailureOptions): CliFailure {
  const advice = ADVICE[exit];
  return new CliFailure(
    exit,
    { code, message, meaning: advice.meaning, next: next ?? remedyFor(code) ?? advice.next },
    cause === undefined ? {} : { cause },
  );
}

/** Turns whatever was thrown into what the person is told. An error that nobody foresaw says nothing of its inside. */
export function failureOf(error: unknown): CliFailure {
  if (error instanceof CliFailure) return error;
  if (error instanceof DomainError) {
    const code: unknown = error.code;
    if (isKnown(code)) return failure(code, error.message, { next: nextFor(error.details), cause: error });
  }
  const system = systemErrorCode(error);
  if (system === 'ENOSPC' || system === 'EDQUOT')
    return failure('file.no-space', 'The disk is full.', { cause: error });
  if (isAbort(error)) return failure('cli.interrupted', 'Stopped.', { cause: error });
  const unusable = unusableFile(error);
  if (unusable !== undefined) return failure('file.unusable', unusable, { cause: error });
  return failure('cli.internal', 'Something went wrong that should not.', { cause: error });
}

/** What the service itself said about when to come back, or what its operator finds the fault by. */
function nextFor({ retryAfterSeconds, requestId }: Readonly<Record<string, unknown>>): string | undefined {
  if (typeof retryAfterSeconds === 'number')
    return `Wait ${String(Math.ceil(retryAfterSeconds))} seconds and try again.`;
  if (typeof requestId === 'string')
    return `Try again; if it stays, give the operator of the service this request id: ${requestId}`;
  return undefined;
}

/** Why a file cannot be used, in words; `undefined` for what is no error of the operating system about a file. */
function unusableFile(error: unknown): string | undefined {
  let at = error;
  for (let depth = 0; depth < 8 && typeof at === 'object' && at !== null; depth += 1) {
    const { code, path, cause } = at as { code?: unknown; path?: unknown; cause?: unknown };
    const why = typeof code === 'string' ? UNUSABLE[code] : undefined;
    if (why !== undefined && typeof path === 'string') return `${path} cannot be used: ${why}.`;
    at = cause;
  }
  return undefined;
}

const UNUSABLE: Readonly<Partial<Record<string, string>>> = {
  EACCES: 'this user may not',
  EPERM: 'this user may not',
  EROFS: 'its file system is read-only',
  ENOENT: 'there is no such file or directory',
  EEXIST: 'there is something of this name already',
  EISDIR: 'it is a directory',
  ENOTDIR: 'a part of the path is no directory',
  ENAMETOOLONG: 'the name is too long',
  ELOOP: 'its links lead in a circle',
  EMFILE: 'too many files are open',
  EBUSY: 'it is in use',
  EIO: 'the disk reports an error',
};

/** The `code` of an operating-system error somewhere in the chain of causes, for instance `ECONNREFUSED`. */
export function systemErrorCode(error: unknown): string | undefined {
  let at = error;
  for (let depth = 0; depth < 8 && typeof at === 'object' && at !== null; depth += 1) {
    const { code, errors, cause } = at as { code?: unknown; errors?: unknown; cause?: unknown };
    if (typeof code === 'string' && /^[A-Z][A-Z0-9_]+$/.test(code)) return code;
    at = Array.isArray(errors) && errors.length > 0 ? (errors[0] as unknown) : cause;
  }
  return undefined;
}

function isKnown(code: unknown): code is KnownErrorCode {
  return typeof code === 'string' && Object.hasOwn(EXITS, code);
}

function isAbort(error: unknown): boolean {
  const name = typeof error === 'object' && error !== null && 'name' in error ? error.name : undefined;
  return name === 'AbortError' || systemErrorCode(error) === 'ABORT_ERR';
}
