import type { CryptoErrorCode } from '@azaion/crypto';
import type { IdentityErrorCode } from '@azaion/identity';
import { DomainError, type NameErrorCode } from '@azaion/kernel';
import type { ResourceErrorCode } from '@azaion/split-resource';
import type { UnlockErrorCode } from '@azaion/unlock';

/** HTTP status and title of a kind of problem. */
export interface ProblemSpec {
  readonly status: number;
  /** Short summary; the same for every occurrence (RFC 9457 §3.1.3). */
  readonly title: string;
}

/** Codes of the domain libs. */
export type DomainErrorCode = NameErrorCode | CryptoErrorCode | ResourceErrorCode | IdentityErrorCode | UnlockErrorCode;

/** Codes of what goes wrong before a handler is reached. */
export type HttpErrorCode =
  | 'request.invalid'
  | 'request.malformed'
  | 'request.precondition-failed'
  | 'request.too-large'
  | 'request.unsupported-media-type'
  | 'request.uri-too-long'
  | 'request.headers-too-large'
  | 'request.timeout'
  | 'request.rate-limited'
  | 'request.host-refused'
  | 'request.origin-refused'
  | 'request.refused'
  | 'route.not-found'
  | 'route.method-not-allowed'
  | 'route.undeclared'
  | 'server.unavailable'
  | 'server.error';

/** Every code that has a row in the table. */
export type AnyErrorCode = DomainErrorCode | HttpErrorCode;

/** Code → HTTP. Whoever is at fault decides the class: callers 4xx, upstreams and publishers 502, this service 5xx. */
export const PROBLEMS = {
  'name.invalid': { status: 422, title: 'Invalid name' },

  'chunk.invalid': { status: 502, title: 'Content is damaged' },
  'chunk.unsupported-codec': { status: 502, title: 'A newer release is needed' },
  'segment.invalid': { status: 502, title: 'Content is damaged' },
  'keys.invalid': { status: 422, title: 'Key refused' },
  'keys.wrong-passphrase': { status: 422, title: 'Key refused' },
  'keys.kek-invalid': { status: 500, title: 'A stored key cannot be opened' },
  'keys.wrapped-invalid': { status: 500, title: 'A stored key cannot be opened' },
  'statement.invalid': { status: 502, title: 'Statement refused' },
  'statement.key-unknown': { status: 502, title: 'Statement refused' },
  'statement.scope': { status: 403, title: 'Published for another device' },
  'key-document.invalid': { status: 502, title: 'Key document refused' },
  'key-document.expired': { status: 502, title: 'Key document refused' },
  'key-document.rollback': { status: 502, title: 'Key document refused' },
  'grant.invalid': { status: 502, title: 'Grant refused' },
  'grant.foreign-recipient': { status: 422, title: 'Recipient key refused' },
  'grant.wrong-nonce': { status: 502, title: 'Grant refused' },
  'grant.expired': { status: 403, title: 'Grant expired' },
  'grant.withdrawn': { status: 403, title: 'Version withdrawn' },
  'grant.not-for-statement': { status: 502, title: 'Grant refused' },
  'legacy.invalid': { status: 502, title: 'Content does not open' },

  'resource.not-found': { status: 404, title: 'Resource not found' },
  'resource.forbidden': { status: 403, title: 'Access denied' },
  'resource.rollback-refused': { status: 409, title: 'Older version refused' },
  'resource.integrity': { status: 502, title: 'Content is damaged' },
  'resource.unsupported-format': { status: 502, title: 'A newer release is needed' },
  'resource.no-space': { status: 507, title: 'No space left' },
  'resource.range-invalid': { status: 416, title: 'Range not satisfiable' },
  'resource.too-large': { status: 413, title: 'Resource too large' },
  'bundle.invalid': { status: 502, title: 'Bundle not usable' },
  'bundle.unsupported-format': { status: 502, title: 'Unsupported format' },
  'bundle.not-for-device': { status: 403, title: 'Bundle for others' },
  'recipe.invalid': { status: 502, title: 'Content is damaged' },
  'pack.not-found': { status: 502, title: 'Content not available' },
  'pack.truncated': { status: 502, title: 'Content not available' },
  'pack.forbidden': { status: 502, title: 'Content not available' },
  'pack.unavailable': { status: 502, title: 'Content not available' },
  'pack.exists': { status: 409, title: 'Written already' },
  'cdn.missing': { status: 502, title: 'Content not available' },
  'cdn.unavailable': { status: 502, title: 'Content store unreachable' },
  'api.unauthorized': { status: 401, title: 'Not logged in' },
  'api.forbidden': { status: 403, title: 'Access denied' },
  'api.unreachable': { status: 502, title: 'Admin API unreachable' },
  'api.unexpected': { status: 502, title: 'Unexpected answer of the Admin API' },
  'api.grant-gone': { status: 502, title: 'Grant expired' },
  'upload.not-found': { status: 404, title: 'Upload not found' },
  'upload.conflict': { status: 409, title: 'Upload conflict' },
  'upload.pack-gone': { status: 409, title: 'Pack gone' },
  'upload.quota-exceeded': { status: 413, title: 'Folder full' },
  'upload.too-many-drafts': { status: 409, title: 'Too many unfinished uploads' },
  'upload.refused': { status: 422, title: 'Upload refused' },

  'token.missing': { status: 401, title: 'Not logged in' },
  'token.invalid': { status: 401, title: 'Token refused' },
  'token.expired': { status: 401, title: 'Token expired' },
  'role.forbidden': { status: 403, title: 'Access denied' },
  'folder.forbidden': { status: 403, title: 'Access denied' },
  'folder.attestation-required': { status: 403, title: 'Attested device needed' },
  'login.wrong-credentials': { status: 401, title: 'Wrong credentials' },
  'login.rate-limited': { status: 429, title: 'Too many attempts' },
  'clock.wrong': { status: 503, title: 'Clock wrong' },
  'device.not-enrolled': { status: 403, title: 'Device not enrolled' },
  'device.already-enrolled': { status: 409, title: 'Device already enrolled' },
  'device.proof-invalid': { status: 422, title: 'Proof refused' },
  'device.revoked': { status: 403, title: 'Device revoked' },
  'device.key-store': { status: 503, title: 'Device keys not available' },
  'device.hardware-changed': { status: 503, title: 'Device keys not available' },
  'device.hardware-unknown': { status: 503, title: 'Device keys not available' },
  'device.tpm-absent': { status: 503, title: 'Device keys not available' },
  'device.tpm-busy': { status: 503, title: 'Device keys not available' },
  'device.tpm-lockout': { status: 503, title: 'Device keys not available' },
  'device.tpm-policy': { status: 503, title: 'Device keys not available' },
  'device.tpm-foreign': { status: 503, title: 'Device keys not available' },
  'device.tpm-failed': { status: 503, title: 'Device keys not available' },
  'attestation.malformed': { status: 422, title: 'Evidence refused' },
  'attestation.ek-untrusted': { status: 422, title: 'Evidence refused' },
  'attestation.ek-expired': { status: 422, title: 'Evidence refused' },
  'attestation.key-attributes': { status: 422, title: 'Evidence refused' },
  'attestation.foreign-key': { status: 422, title: 'Evidence refused' },
  'attestation.wrong-nonce': { status: 422, title: 'Evidence refused' },
  'attestation.pcr-refused': { status: 403, title: 'Evidence refused' },
  'attestation.replayed': { status: 409, title: 'Evidence refused' },
  'attestation.activation-failed': { status: 422, title: 'Evidence refused' },
  'attestation.tpm-taken': { status: 409, title: 'Evidence refused' },

  'unlock.credentials-rejected': { status: 401, title: 'Wrong credentials' },
  'unlock.api-unreachable': { status: 502, title: 'Admin API unreachable' },
  'unlock.archive-not-found': { status: 404, title: 'Encrypted archive not found' },
  'unlock.archive-invalid': { status: 502, title: 'Archive refused' },
  'unlock.archive-truncated': { status: 502, title: 'Archive refused' },
  'unlock.key-not-found': { status: 502, title: 'No key for this archive' },
  'unlock.archive-unreadable': { status: 502, title: 'Archive not readable' },
  'unlock.allow-list-invalid': { status: 502, title: 'List of images not usable' },
  'unlock.services-failed': { status: 502, title: 'Services not started' },
  'unlock.services-unhealthy': { status: 502, title: 'Services not healthy' },
  'unlock.archive-stalled': { status: 504, title: 'Archive not available' },
  'unlock.image-unsigned': { status: 502, title: 'Image refused' },
  'unlock.image-missing': { status: 502, title: 'Image missing' },
  'unlock.image-mismatch': { status: 502, title: 'Image refused' },
  'unlock.engine-not-installed': { status: 503, title: 'Container engine not available' },
  'unlock.engine-unreachable': { status: 503, title: 'Container engine not available' },
  'unlock.engine-forbidden': { status: 503, title: 'Container engine not available' },
  'unlock.engine-failed': { status: 502, title: 'Container engine failed' },
  'unlock.engine-stalled': { status: 504, title: 'Container engine stalled' },
  'unlock.plaintext-on-disk': { status: 503, title: 'Container engine not usable' },
  'unlock.no-space': { status: 507, title: 'No space left' },
  'unlock.forbidden': { status: 403, title: 'Access denied' },
  'unlock.interrupted': { status: 503, title: 'Unlock interrupted' },
  'unlock.cancelled': { status: 409, title: 'Unlock cancelled' },
  'unlock.not-running': { status: 409, title: 'Nothing to cancel' },
  'unlock.failed': { status: 500, title: 'Unlock failed' },

  'request.invalid': { status: 400, title: 'Invalid request' },
  'request.malformed': { status: 400, title: 'Malformed request' },
  'request.precondition-failed': { status: 412, title: 'Changed in the meantime' },
  'request.too-large': { status: 413, title: 'Request too large' },
  'request.unsupported-media-type': { status: 415, title: 'Unsupported media type' },
  'request.uri-too-long': { status: 414, title: 'Address too long' },
  'request.headers-too-large': { status: 431, title: 'Headers too large' },
  'request.timeout': { status: 408, title: 'Request too slow' },
  'request.rate-limited': { status: 429, title: 'Too many requests' },
  'request.host-refused': { status: 421, title: 'Host refused' },
  'request.origin-refused': { status: 403, title: 'Origin refused' },
  'request.refused': { status: 400, title: 'Request refused' },
  'route.not-found': { status: 404, title: 'Not found' },
  'route.method-not-allowed': { status: 405, title: 'Method not allowed' },
  'route.undeclared': { status: 403, title: 'Access denied' },
  'server.unavailable': { status: 503, title: 'Not available' },
  'server.error': { status: 500, title: 'Internal error' },
} as const satisfies Record<AnyErrorCode, ProblemSpec>;

/** What an {@link HttpProblem} may say beside code and sentence. */
export interface HttpProblemOptions {
  /** Overrides the table's status, for codes whose status depends on the case (502 or 504). */
  readonly status?: number;
  readonly title?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Further members of the document. They are shown: no secret, path or upstream text. */
  readonly members?: Readonly<Record<string, unknown>>;
  readonly cause?: unknown;
}

/** A problem of the HTTP layer itself, or a domain code whose status only the handler knows. */
export class HttpProblem<Code extends string = string> extends DomainError<Code> {
  readonly status: number | undefined;
  readonly title: string | undefined;
  readonly headers: Readonly<Record<string, string>>;
  readonly members: Readonly<Record<string, unknown>>;

  constructor(code: Code, detail: string, options: HttpProblemOptions = {}) {
    super(code, detail, { cause: options.cause });
    this.status = options.status;
    this.title = options.title;
    this.headers = options.headers ?? {};
    this.members = options.members ?? {};
  }
}

/** An RFC 9457 problem document. */
export interface ProblemDocument {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly instance: string;
  readonly code: string;
  readonly requestId: string;
  readonly [member: string]: unknown;
}

/** Media type of problem documents (RFC 9457 §6.1). */
export const PROBLEM_MEDIA_TYPE = 'application/problem+json';

/** How an application completes the table and the documents. */
export interface ProblemOptions {
  /** Rows for the application's own codes. They may not replace a row of {@link PROBLEMS}. */
  readonly problems?: Readonly<Record<string, ProblemSpec>>;
  /** Members to add, for clients that read others than RFC 9457's. */
  readonly extend?: (error: DomainError, document: ProblemDocument) => Readonly<Record<string, unknown>>;
}

/** A problem ready to be sent. */
export interface ProblemResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly document: ProblemDocument;
  /** Whether an operator must look at it: the error is logged with its causes. */
  readonly unexpected: boolean;
}

/**
 * Turns any thrown value into a problem.
 *
 * @param error - What was thrown. Only a `DomainError` is shown; everything else is 500 without detail, or the fixed text of its HTTP status.
 * @param place - `instance` is the path without its query string.
 */
export function problemOf(
  error: unknown,
  place: { readonly instance: string; readonly requestId: string },
  options: ProblemOptions = {},
): ProblemResponse {
  const known: DomainError = error instanceof DomainError ? (error as DomainError) : fromFramework(error);
  const spec = specOf(known, options);
  if (spec === undefined) return problemOf(serverError(error), place, options);
  const shown = known instanceof HttpProblem ? known : undefined;
  const status = shown?.status ?? spec.status;
  const document: ProblemDocument = {
    ...known.details,
    ...shown?.members,
    type: 'about:blank',
    title: shown?.title ?? spec.title,
    status,
    detail: known.message,
    instance: place.instance,
    code: known.code,
    requestId: place.requestId,
  };
  return {
    status,
    headers: { ...headersOf(known, status), ...shown?.headers },
    document: { ...options.extend?.(known, document), ...document },
    unexpected: status >= 500 && status !== 503,
  };
}

function specOf(error: DomainError, options: ProblemOptions): ProblemSpec | undefined {
  if (Object.hasOwn(PROBLEMS, error.code)) return PROBLEMS[error.code as AnyErrorCode];
  if (options.problems !== undefined && Object.hasOwn(options.problems, error.code))
    return options.problems[error.code];
  if (error instanceof HttpProblem && error.status !== undefined)
    return { status: error.status, title: 'Request refused' };
  return undefined;
}

function headersOf(error: DomainError, status: number): Record<string, string> {
  const headers: Record<string, string> = {};
  if (status === 401) {
    const tokenRefused = error.code === 'token.invalid' || error.code === 'token.expired';
    headers['www-authenticate'] = tokenRefused ? 'Bearer error="invalid_token"' : 'Bearer';
  }
  const retryAfterSeconds = error.details['retryAfterSeconds'];
  if (typeof retryAfterSeconds === 'number') headers['retry-after'] = String(Math.max(1, Math.ceil(retryAfterSeconds)));
  const totalBytes = error.details['totalBytes'];
  if (status === 416 && typeof totalBytes === 'number') headers['content-range'] = `bytes */${totalBytes}`;
  return headers;
}

/** Errors of Fastify and Nest carry a status and texts of their own; the status is kept, the texts are not. */
function fromFramework(error: unknown): DomainError {
  switch (statusOf(error)) {
    case 400:
      return new HttpProblem('request.malformed', 'The request could not be read: check its body and its address.', {
        cause: error,
      });
    case 401:
      return new HttpProblem('token.missing', 'Log in first: an access token is needed.', { cause: error });
    case 403:
      return new HttpProblem('role.forbidden', 'Your role does not allow this.', { cause: error });
    case 404:
      return new HttpProblem('route.not-found', 'There is nothing at this address.', { cause: error });
    case 405:
      return new HttpProblem('route.method-not-allowed', 'This address does not know that method.', { cause: error });
    case 408:
      return new HttpProblem('request.timeout', 'The request took too long to arrive.', { cause: error });
    case 413:
      return new HttpProblem('request.too-large', 'The body of the request is too large.', { cause: error });
    case 414:
      return new HttpProblem('request.uri-too-long', 'The address is too long.', { cause: error });
    case 415:
      return new HttpProblem(
        'request.unsupported-media-type',
        'This kind of body is not accepted here: check Content-Type.',
        { cause: error },
      );
    case 429:
      return new HttpProblem('request.rate-limited', 'Too many requests: try again later.', { cause: error });
    case 431:
      return new HttpProblem('request.headers-too-large', 'The headers of the request are too large.', {
        cause: error,
      });
    case 503:
      return new HttpProblem('server.unavailable', 'The service is not available right now: try again later.', {
        cause: error,
      });
    default:
      return clientStatus(error) ?? serverError(error);
  }
}

function clientStatus(error: unknown): DomainError | undefined {
  const status = statusOf(error);
  return status !== undefined && status >= 400 && status < 500
    ? new HttpProblem('request.refused', 'The request was refused.', { status, cause: error })
    : undefined;
}

function statusOf(error: unknown): number | undefined {
  if (typeof error !== 'object' || error === null) return undefined;
  const { statusCode, getStatus } = error as { statusCode?: unknown; getStatus?: unknown };
  if (typeof getStatus === 'function') return Number(getStatus.call(error));
  return typeof statusCode === 'number' ? statusCode : undefined;
}

function serverError(cause: unknown): DomainError {
  return new HttpProblem('server.error', 'Something went wrong here. The request id helps the operator to find it.', {
    cause,
  });
}
