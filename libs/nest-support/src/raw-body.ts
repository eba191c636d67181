import type { Readable } from 'node:stream';

import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';

import { HttpProblem } from './problem.js';

/** Media type of segments, packs, tables and uploads. */
export const BINARY_MEDIA_TYPE = 'application/octet-stream';

/** Parameter: the body of an `application/octet-stream` request as a stream. It is not limited: see {@link readAtMost}. */
export const BodyStream = createParamDecorator((_: unknown, context: ExecutionContext): Readable => {
  return bodyStreamOf(context.switchToHttp().getRequest<FastifyRequest>());
});

/** The body as a stream. @throws HttpProblem `request.unsupported-media-type` when the request does not carry binary content. */
export function bodyStreamOf(request: FastifyRequest): Readable {
  if (request.body !== request.raw)
    throw new HttpProblem('request.unsupported-media-type', `Send the content as ${BINARY_MEDIA_TYPE}.`);
  return request.raw;
}

/**
 * Reads a whole stream of at most `maxBytes` bytes. What comes after a refusal is read away: a destroyed stream would cut the connection
 * before the answer is sent, a paused one would block the next request on it.
 *
 * @throws HttpProblem `request.too-large`; the stream's own error.
 */
export function readAtMost(stream: Readable, maxBytes: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const endedEarly = (): void => {
      reject(new HttpProblem('request.malformed', 'The body of the request ended early.'));
    };
    if (stream.destroyed) endedEarly();
    const parts: Buffer[] = [];
    let seenBytes = 0;
    stream.on('data', (part: Buffer) => {
      seenBytes += part.length;
      if (seenBytes <= maxBytes) parts.push(part);
      else reject(tooLarge(maxBytes));
    });
    stream.on('end', () => {
      resolve(Buffer.concat(parts));
    });
    stream.on('error', reject);
    stream.on('close', endedEarly);
  });
}

function tooLarge(maxBytes: number): HttpProblem {
  return new HttpProblem('request.too-large', `The body is larger than the ${maxBytes} bytes accepted here.`);
}
