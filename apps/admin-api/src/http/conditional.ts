import { hash } from 'node:crypto';

import { HttpProblem } from '@azaion/nest-support';
import type { FastifyReply, FastifyRequest } from 'fastify';

/** The tag of an answer: the same text has the same tag on every replica (RFC 9110 §8.8.3). */
export function etagOf(answer: unknown): string {
  return `"${hash('sha256', JSON.stringify(answer), 'base64url').slice(0, 22)}"`;
}

/** Answers with the tag of the content, and with 304 and nothing else where the caller knows it (RFC 9110 §13.1.2). */
export function unlessKnown<Answer>(answer: Answer, request: FastifyRequest, reply: FastifyReply): Answer | undefined {
  const etag = etagOf(answer);
  void reply.headers({ etag, 'cache-control': 'private, no-cache' });
  if (!lists(request.headers['if-none-match'], etag)) return answer;
  void reply.status(304);
  return undefined;
}

/** Headers that a change may depend on. */
export interface ChangeHeaders {
  readonly 'if-match'?: string | undefined;
  readonly 'if-none-match'?: string | undefined;
}

/**
 * Refuses a change of what is no longer as the caller knew it (`If-Match`, `If-None-Match: *`; RFC 9110 §13.1).
 *
 * @param current - What is there; `undefined` for nothing.
 * @param shown - What readers are shown, and know the tag of, also where nothing is there.
 * @throws HttpProblem `request.precondition-failed`.
 */
export function assertUnchanged(headers: ChangeHeaders, current: unknown, shown = current): void {
  const { 'if-match': ifMatch, 'if-none-match': ifNoneMatch } = headers;
  const tag = shown === undefined ? undefined : etagOf(shown);
  const isThere = current !== undefined;
  const asKnown = ifMatch === undefined || lists(ifMatch, tag, isThere);
  const asUnknown = ifNoneMatch === undefined || !lists(ifNoneMatch, tag, isThere);
  if (asKnown && asUnknown) return;
  throw new HttpProblem(
    'request.precondition-failed',
    'It was changed in the meantime: read it again, and repeat your change on what is there now.',
  );
}

/** @param isThere - Whether `*` is meant, too. */
function lists(header: string | undefined, etag: string | undefined, isThere = true): boolean {
  return (header ?? '')
    .split(',')
    .map((tag) => tag.trim())
    .some((tag) => (tag === '*' ? isThere : etag !== undefined && (tag === etag || tag === `W/${etag}`)));
}
