import type { CryptoErrorCode } from '@azaion/crypto';
import type { IdentityErrorCode } from '@azaion/identity';
import { DomainError, type NameErrorCode } from '@azaion/kernel';
import type { ResourceErrorCode } from '@azaion/split-resource';
import type { UnlockErrorCode } from '@azaion/unlock';

import { CliFailure } from './cli-failure.js';
import type { ExitName } from './exit-codes.js';

/** Codes of the domain that reach this command. */
export type KnownErrorCode = ResourceErrorCode | CryptoErrorCode | IdentityErrorCode | NameErrorCode | UnlockErrorCode;

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
    next: 'See the reason above.',
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

const NEXT: Partial<Record<KnownErrorCode, string>> = {
  'keys.wrong-passphrase': 'Check the passphrase; if the file was changed, take another copy of it.',
  'resource.rollback-refused': 'Name the older version with --version if you really want it.',
  'upload.pack-gone': 'Run the same command again: what is missing is sealed and sent anew.',
  'upload.quota-exceeded': 'Withdraw versions that nobody needs, or ask an administrator for a larger quota.',
  'upload.too-many-drafts':
    'Let other publishes of this account finish first, or wait: what was given up is forgotten within a day. An administrator can raise DRAFT_MAX_UPLOADS and DRAFT_MAX_BYTES.',
  'upload.not-found': 'Run the same command again: it opens a new upload and reuses what was sent.',
  'key-document.expired': 'The operator must sign a new key document with the root key.',
  'login.wrong-credentials':
    'Check e-mail address and password. After many failures an account is locked for 15 minutes.',
  'login.rate-limited': 'Wait a few minutes and try again.',
  'unlock.archive-invalid': 'Make the archive with "docker save -o FILE IMAGE…" and publish that, uncompressed.',
  'statement.scope': 'An administrator must promote this version for the fleet first.',
};

/** Ends a command in this way with the general advice for it. */
export function failure(exit: ExitName, code: string, message: string, next?: string, cause?: unknown): CliFailure {
  const advice = ADVICE[exit];
  return new CliFailure(
    exit,
    { code, message, meaning: advice.meaning, next: next ?? advice.next },
    cause === undefined ? {} : { cause },
  );
}

/** Turns whatever was thrown into what the person is told. An error that nobody foresaw says nothing of its inside. */
export function failureOf(error: unknown): CliFailure {
  if (error instanceof CliFailure) return error;
  if (error instanceof DomainError) {
    const code: unknown = error.code;
    if (isKnown(code)) return failure(EXITS[code], code, error.message, nextFor(error.details) ?? NEXT[code], error);
  }
  const system = systemErrorCode(error);
  if (system === 'ENOSPC' || system === 'EDQUOT')
    return failure('no-space', 'file.no-space', 'The disk is full.', undefined, error);
  if (isAbort(error)) return failure('interrupted', 'cli.interrupted', 'Stopped.', undefined, error);
  return failure('internal', 'cli.internal', 'Something went wrong that should not.', undefined, error);
}

/** What the service itself said about when to come back, or what its operator finds the fault by. */
function nextFor({ retryAfterSeconds, requestId }: Readonly<Record<string, unknown>>): string | undefined {
  if (typeof retryAfterSeconds === 'number')
    return `Wait ${String(Math.ceil(retryAfterSeconds))} seconds and try again.`;
  if (typeof requestId === 'string')
    return `Try again; if it stays, give the operator of the service this request id: ${requestId}`;
  return undefined;
}

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
