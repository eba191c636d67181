import { applyDecorators } from '@nestjs/common';
import { ApiResponse } from '@nestjs/swagger';

import { PROBLEM_MEDIA_TYPE } from './problem.js';

/** What each status means to a caller. */
const MEANINGS: Readonly<Record<number, string>> = {
  400: 'The request is not valid; every refused field is listed in `errors`',
  401: 'No token, one that is not accepted, or wrong credentials',
  403: 'The role, folder or device does not allow this',
  404: 'There is no such thing, or not for this caller',
  409: 'It exists already, or its state does not allow this',
  412: 'It was changed in the meantime',
  413: 'The body is too large',
  414: 'The address is too long',
  415: 'The body is of another media type',
  416: 'The range lies behind the end',
  422: 'Understood, but refused: a field, proof, name or check failed',
  429: 'Too many attempts; see `Retry-After`',
  502: 'What is behind this service failed: the Admin API, the CDN, or the content itself',
  503: 'Not available right now; see `Retry-After`',
  504: 'What is behind this service does not answer in time',
  507: 'No space left',
};

/** How an operation documents a problem document of one status. */
export function problemResponse(status: number): { readonly description: string; readonly content: object } {
  return {
    description: MEANINGS[status] ?? 'A problem document (RFC 9457)',
    content: { [PROBLEM_MEDIA_TYPE]: { schema: { $ref: '#/components/schemas/Problem' } } },
  };
}

/** Documents which problem documents an operation, or every operation of a controller, may answer with. Those that every operation of its kind has are added by themselves: see {@link commonProblems}. */
export function ProblemResponses(...statuses: readonly number[]): MethodDecorator & ClassDecorator {
  return applyDecorators(
    ...statuses.map((status) => ApiResponse({ status, ...(problemResponse(status) as { description: string }) })),
  );
}

/** What is known of an operation when its common answers are added. */
export interface DocumentedOperation {
  readonly security?: readonly unknown[];
  readonly parameters?: readonly { readonly in?: string }[];
  readonly requestBody?: unknown;
}

/**
 * The refusals that come before any handler: of the token and the role where one is needed, of what was sent where something may be
 * sent, and of everything while the service is closing.
 */
export function commonProblems(operation: DocumentedOperation, validationStatus: 400 | 422): readonly number[] {
  const guarded = (operation.security ?? []).length > 0;
  const takesBody = operation.requestBody !== undefined;
  const takes = takesBody || (operation.parameters ?? []).length > 0;
  return [
    ...(takes ? [400, validationStatus] : []),
    ...(guarded ? [401, 403] : []),
    ...((operation.parameters ?? []).some((parameter) => parameter.in === 'path') ? [414] : []),
    ...(takesBody ? [413, 415] : []),
    503,
  ];
}
