import { hash } from 'node:crypto';

import { HttpProblem } from '@azaion/nest-support';
import { type FastifyReply, type FastifyRequest } from 'fastify';

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

/**
 * Refuses a change of what is no longer as the caller knew it (`If-Match`, RFC 9110 §13.1.1).
 *
 * @param current - What is there; `undefined` for nothing.
 * @throws HttpProblem `request.precondition-failed`.
 */
export function assertUnchanged(ifMatch: string | undefined, current: unknown): void {
  if (ifMatch === undefined) return;
  if (current !== undefined && lists(ifMatch, etagOf(current))) return;
  throw new HttpProblem(
    'request.precondition-failed',
    'It was changed in the meantime: read it again, and repeat your change on what is there now.',
  );
}

function lists(header: string | undefined, etag: string): boolean {
  return (header ?? '')
    .split(',')
    .map((tag) => tag.trim())
    .some((tag) => tag === '*' || tag === etag || tag === `W/${etag}`);
}
