import { IdentityError } from '@azaion/identity';
import { callerOf } from '@azaion/nest-support';
import type { FastifyRequest } from 'fastify';

import type { TokenBearer } from '../session/caller-apis.js';

/** The verified caller of a request with the token it sent. @throws IdentityError `token.missing` on a route that let the request through without one. */
export function bearerOf(request: FastifyRequest): TokenBearer {
  const caller = callerOf(request);
  const token = /^bearer +(\S+)$/i.exec(request.headers.authorization ?? '')?.[1];
  if (caller === undefined || token === undefined)
    throw new IdentityError('token.missing', 'Log in first: an access token is needed.');
  return { caller, token };
}
