import { type ArgumentsHost, Catch, type ExceptionFilter, Logger } from '@nestjs/common';
import { type FastifyReply, type FastifyRequest } from 'fastify';

import { PROBLEM_MEDIA_TYPE, type ProblemDocument, problemOf, type ProblemOptions } from './problem.js';

const answered = new WeakMap<object, ProblemDocument>();

/** The problem that a request was answered with, if it was one; also where the connection had to be cut instead. */
export function answeredProblem(request: FastifyRequest): ProblemDocument | undefined {
  return answered.get(request);
}

/** Answers every error, also those raised before a handler is reached, with a problem document. */
@Catch()
export class ProblemFilter implements ExceptionFilter {
  private readonly logger = new Logger(ProblemFilter.name);

  constructor(private readonly options: ProblemOptions = {}) {}

  catch(error: unknown, host: ArgumentsHost): void {
    const http = host.switchToHttp();
    this.answer(error, http.getRequest<FastifyRequest>(), http.getResponse<FastifyReply>());
  }

  /** For errors that Fastify reports by itself. */
  answer(error: unknown, request: FastifyRequest, reply: FastifyReply): void {
    // Nobody waits for an answer any more, and what was stopped because of that is no fault.
    if (reply.raw.destroyed) return;
    const problem = problemOf(error, { instance: pathOf(request.url), requestId: request.id }, this.options);
    if (problem.unexpected) this.logger.error({ err: error, code: problem.document.code });
    answered.set(request, problem.document);
    if (reply.raw.headersSent) {
      reply.raw.destroy(); // a cut connection, never a short, normal-looking body
      return;
    }
    for (const name of [
      'content-length',
      'content-encoding',
      'etag',
      'repr-digest',
      'accept-ranges',
      'content-range',
      'content-disposition',
    ])
      reply.removeHeader(name);
    void reply
      .status(problem.status)
      .headers({ 'cache-control': 'no-store', ...problem.headers })
      .type(PROBLEM_MEDIA_TYPE)
      .serializer((document: unknown) => JSON.stringify(document))
      .send(problem.document);
  }
}

/** The path of a request target, without the query string: it may carry a signature. */
export function pathOf(url: string): string {
  return url.split(/[?#]/, 1)[0] ?? '/';
}
