import { isIP } from 'node:net';

import type { FastifyRequest } from 'fastify';

import { HttpProblem } from './problem.js';

/**
 * Refuses what a web page in a browser on this machine could send: a request under a name that was rebound to this address (`Host`), or
 * from a page of another origin (`Origin`). Plain addresses cannot be rebound.
 *
 * @param allowedHosts - Names without port, in lower case.
 */
export function rebindingProblem(request: FastifyRequest, allowedHosts: readonly string[]): HttpProblem | undefined {
  const host = request.headers.host?.toLowerCase() ?? '';
  const name = host.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1');
  if (name !== 'localhost' && isIP(name) === 0 && !allowedHosts.includes(name))
    return new HttpProblem('request.host-refused', 'This service does not answer under that name.');
  const origin = request.headers.origin?.toLowerCase();
  if (origin !== undefined && origin !== `http://${host}` && origin !== `https://${host}`)
    return new HttpProblem('request.origin-refused', 'Pages of other origins may not use this service.');
  return undefined;
}
