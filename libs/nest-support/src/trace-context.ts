import { AsyncLocalStorage } from 'node:async_hooks';
import { randomBytes } from 'node:crypto';

import type { FastifyInstance, FastifyRequest } from 'fastify';

import { REQUEST_ID_HEADER } from './request-id.js';

/** What ties the calls that one request causes to it. */
interface RequestTrace {
  readonly requestId: string;
  /** 32 hexadecimal digits. */
  readonly traceId: string;
  /** Two hexadecimal digits; the last bit says that the caller records. */
  readonly flags: string;
  readonly state: string | undefined;
}

const TRACEPARENT = /^00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})$/;
const TRACESTATE = /^[\x20-\x7e]{1,512}$/;
const current = new AsyncLocalStorage<RequestTrace>();
const traces = new WeakMap<FastifyRequest, RequestTrace>();

/**
 * Headers for a call that is made while a request is being answered: its id, and the W3C trace context with a span of its own
 * (https://www.w3.org/TR/trace-context/). Nothing outside of a request.
 */
export function outgoingTraceHeaders(): Readonly<Record<string, string>> {
  const trace = current.getStore();
  if (trace === undefined) return {};
  return {
    [REQUEST_ID_HEADER]: trace.requestId,
    traceparent: `00-${trace.traceId}-${randomBytes(8).toString('hex')}-${trace.flags}`,
    ...(trace.state === undefined ? {} : { tracestate: trace.state }),
  };
}

/** Id of the request that is being answered; none outside of one. */
export function currentRequestId(): string | undefined {
  return current.getStore()?.requestId;
}

/** Remembers the trace of every request for as long as it is answered. */
export function followTraces(fastify: FastifyInstance): void {
  fastify.addHook('onRequest', (request, _reply, done) => {
    const trace = traceOf(request);
    traces.set(request, trace);
    current.run(trace, done);
  });
  // Once a body has been read, the parser's context is the current one.
  fastify.addHook('preValidation', (request, _reply, done) => {
    const trace = traces.get(request);
    if (trace === undefined) done();
    else current.run(trace, done);
  });
}

/** The trace id of a request, for the log; none for what was refused before it was looked at. */
export function traceIdOf(request: FastifyRequest): string | undefined {
  return traces.get(request)?.traceId;
}

/** The caller's own trace when it is well formed, else a new one that nobody records. */
function traceOf({ id, headers }: FastifyRequest): RequestTrace {
  const { traceparent, tracestate } = headers;
  const match = typeof traceparent === 'string' ? TRACEPARENT.exec(traceparent) : null;
  const [, traceId, flags] = match ?? [];
  if (traceId === undefined || flags === undefined)
    return { requestId: id, traceId: randomBytes(16).toString('hex'), flags: '00', state: undefined };
  const state = typeof tracestate === 'string' && TRACESTATE.test(tracestate) ? tracestate : undefined;
  return { requestId: id, traceId, flags, state };
}
