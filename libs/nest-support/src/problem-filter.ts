import { finished, Readable } from 'node:stream';

import { type ArgumentsHost, Catch, type ExceptionFilter, Logger } from '@nestjs/common';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';

import { PROBLEM_MEDIA_TYPE, type ProblemDocument, problemOf, type ProblemOptions } from './problem.js';

interface Answered {
  readonly document: ProblemDocument;
  /** What ended an answer that had begun. */
  readonly brokenBy?: unknown;
}

const answered = new WeakMap<object, Answered>();

/** What a request came to, once it is over. */
export interface Outcome {
  /** Of the answer. Of the problem where a failure cut the answer off; {@link CLIENT_GONE} where the connection ended before the answer began. */
  readonly status: number;
  /** Whether the last byte of the answer was handed to the connection. */
  readonly complete: boolean;
  /** The problem that it was answered with, if it was one; also where the connection had to be cut instead. */
  readonly problem?: ProblemDocument | undefined;
  /** The error that cut an answer off, if one did. */
  readonly brokenBy?: unknown;
}

/** Status of requests that nobody was there to answer any more. It is sent to nobody. */
export const CLIENT_GONE = 499;

/** What a request came to. Ask when it is over, see `whenAnswered`. */
export function outcomeOf(request: FastifyRequest, reply: FastifyReply): Outcome {
  const known = answered.get(request);
  const status = reply.raw.headersSent ? reply.statusCode : CLIENT_GONE;
  return {
    status: known?.document.status ?? status,
    complete: reply.raw.writableFinished,
    problem: known?.document,
    brokenBy: known?.brokenBy,
  };
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
    if (reply.raw.headersSent) {
      answered.set(request, { document: problem.document, brokenBy: error });
      reply.raw.destroy(); // a cut connection, never a short, normal-looking body
      return;
    }
    if (problem.unexpected) this.logger.error({ err: error, code: problem.document.code });
    answered.set(request, { document: problem.document });
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

/** Cuts off every streamed answer that fails after its first byte, and remembers why: nothing else would tell it from one that was sent. */
export function watchStreams(fastify: FastifyInstance, filter: ProblemFilter): void {
  fastify.addHook('onSend', (request, reply, payload, done) => {
    if (payload instanceof Readable)
      finished(payload, { writable: false }, (error) => {
        // Before the first byte the framework asks for a problem document by itself.
        if (error && reply.raw.headersSent) filter.answer(error, request, reply);
      });
    done();
  });
}

/** The path of a request target, without the query string: it may carry a signature. */
export function pathOf(url: string): string {
  return url.split(/[?#]/, 1)[0] ?? '/';
}
