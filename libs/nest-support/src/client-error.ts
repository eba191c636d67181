import { randomUUID } from 'node:crypto';
import { STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';

import { HttpProblem, PROBLEM_MEDIA_TYPE, problemOf } from './problem.js';

/**
 * Answers what Node's HTTP parser refused: there is no request yet, so the answer is written by hand.
 *
 * @param itsTurn - Whether it is known that no answer is under way.
 */
export function answerClientError(
  error: NodeJS.ErrnoException,
  socket: Duplex & { readonly bytesWritten?: number },
  itsTurn = false,
): void {
  if (error.code === 'ECONNRESET' || !socket.writable || (!itsTurn && (socket.bytesWritten ?? 0) > 0)) {
    socket.destroy(); // nobody listens, or an answer is under way already
    return;
  }
  const { status, document } = problemOf(problemFor(error.code), { instance: '/', requestId: randomUUID() });
  const body = JSON.stringify(document);
  socket.end(
    [
      `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}`,
      `content-type: ${PROBLEM_MEDIA_TYPE}`,
      `content-length: ${Buffer.byteLength(body)}`,
      'connection: close',
      '',
      body,
    ].join('\r\n'),
  );
}

function problemFor(code: string | undefined): HttpProblem {
  if (code === 'HPE_HEADER_OVERFLOW')
    return new HttpProblem('request.headers-too-large', 'The headers of the request are too large.');
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT')
    return new HttpProblem('request.timeout', 'The request took too long to arrive.');
  return new HttpProblem('request.malformed', 'The request could not be read.');
}
