import type { FastifyInstance } from 'fastify';

import type { Metrics } from './metrics.js';
import { outcomeOf } from './problem-filter.js';
import { whenAnswered } from './when-answered.js';

const DURATION_BUCKETS_SECONDS = [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120, 600];
/** Label of what no route knows: paths are the callers' choice, and every value of a label is kept. */
const NO_ROUTE = 'none';

/** Counts every answer by the template of its route, never by its path. */
export function measureRequests(fastify: FastifyInstance, metrics: Metrics): void {
  const requests = metrics.counter({
    name: 'azaion_http_requests_total',
    help: 'Requests that were answered or broken off. Where a failure cut an answer off its status counts, 499 where the client left before the answer began.',
    labels: ['method', 'route', 'status'],
  });
  const durations = metrics.histogram(
    {
      name: 'azaion_http_request_duration_seconds',
      help: 'Time from the first byte of a request to the last byte of its answer.',
      labels: ['method', 'route'],
    },
    DURATION_BUCKETS_SECONDS,
  );
  let open = 0;
  metrics.gauge({ name: 'azaion_http_requests_open', help: 'Requests that are being answered.' }, (gauge) =>
    gauge.set(open),
  );
  fastify.addHook('onRequest', (_request, _reply, done) => {
    open += 1;
    done();
  });
  whenAnswered(fastify, (request, reply) => {
    open -= 1;
    const route = request.is404 ? NO_ROUTE : (request.routeOptions.url ?? NO_ROUTE);
    const { method } = request;
    requests.inc({ method, route, status: String(outcomeOf(request, reply).status) });
    durations.observe({ method, route }, reply.elapsedTime / 1000);
  });
}
