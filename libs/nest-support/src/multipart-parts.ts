import { DomainError } from '@azaion/kernel';
import type { FastifyRequest } from 'fastify';
import type { Readable } from 'node:stream';

import { HttpProblem } from './problem.js';

type Parts = ReturnType<FastifyRequest['parts']>;
/** One part of a multipart body. */
export type MultipartPart = Parts extends AsyncIterable<infer Part> ? Part : never;

/**
 * The parts of a multipart body as they come in (RFC 7578).
 *
 * @throws HttpProblem `request.malformed` for what is no such body; what the limits of the application refuse.
 */
export async function* multipartParts(
  request: FastifyRequest,
  options?: Parameters<FastifyRequest['parts']>[0],
): AsyncGenerator<MultipartPart, void> {
  try {
    yield* request.parts(options);
  } catch (error) {
    throw asClientFault(error);
  }
}

/** The bytes of a part. @throws HttpProblem `request.malformed` when the body ends within it. */
export async function* multipartContent(file: Readable): AsyncGenerator<Buffer, void> {
  try {
    for await (const piece of file as AsyncIterable<Buffer>) yield piece;
  } catch (error) {
    throw asClientFault(error);
  }
}

/** The parser throws plain errors about what a client sent; those that carry a status, and our own, say enough. */
function asClientFault(error: unknown): unknown {
  if (error instanceof HttpProblem || error instanceof DomainError) return error;
  if (typeof (error as { statusCode?: unknown } | null)?.statusCode === 'number') return error;
  return new HttpProblem('request.malformed', 'The multipart body cannot be read: check its boundary and its end.', {
    cause: error,
  });
}
