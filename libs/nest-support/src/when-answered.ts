import type { ServerResponse } from 'node:http';

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';

/** One listener for each answer, however many want to know. */
const waiting = new WeakMap<ServerResponse, (() => void)[]>();

/**
 * Calls back once for every request when its answer has been sent or its connection is gone, whichever comes first. Fastify's `onResponse`
 * leaves out those whose client goes away, also one that has read everything and hangs up at once. Register it before hooks that may answer by
 * themselves.
 */
export function whenAnswered(
  fastify: FastifyInstance,
  told: (request: FastifyRequest, reply: FastifyReply) => void,
): void {
  fastify.addHook('onRequest', (request, reply, done) => {
    const tell = (): void => told(request, reply);
    const others = waiting.get(reply.raw);
    if (others === undefined) {
      const all = [tell];
      waiting.set(reply.raw, all);
      reply.raw.once('close', () => all.forEach((one) => one()));
    } else {
      others.push(tell);
    }
    done();
  });
}
