import { IdentityError } from '@azaion/identity';
import { callerOf, cameOverUnixSocket } from '@azaion/nest-support';
import { type CanActivate, type ExecutionContext, Injectable } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';

import type { LoaderDevice } from '../loader-adapters.js';
import type { TokenBearer } from '../session/caller-apis.js';
import { bearerOf } from './bearer.js';

/** What a proxy adds: a request with one of them comes from elsewhere, whatever address it was passed on from. */
const PROXY_HEADERS = ['forwarded', 'via', 'x-forwarded-for', 'x-forwarded-host', 'x-real-ip'] as const;
const LOOPBACK = /^(?:127(?:\.\d{1,3}){3}|::1|::ffff:127(?:\.\d{1,3}){3})$/;

/** Who a request speaks for: its token's bearer or, for older services that send none, the device itself where that is allowed. */
export class RequestBearer {
  /** @param localTrust - Whether calls without a token from loopback or the Unix socket are the device's own (`LOADER_LOCAL_TRUST=session`). */
  constructor(
    private readonly device: LoaderDevice | undefined,
    private readonly localTrust: boolean,
  ) {}

  /** Whether the request has a verified caller, or may go without: it came straight from a process on this machine. */
  admits(request: FastifyRequest): boolean {
    if (callerOf(request) !== undefined) return true;
    const sentToken = request.headers.authorization !== undefined;
    const passedOn = PROXY_HEADERS.some((name) => request.headers[name] !== undefined);
    const fromHere = cameOverUnixSocket(request) || LOOPBACK.test(request.ip);
    return this.localTrust && this.device !== undefined && !sentToken && !passedOn && fromHere;
  }

  /** @throws IdentityError `token.missing`; what the device's own login throws. */
  async of(request: FastifyRequest): Promise<TokenBearer> {
    if (callerOf(request) === undefined && this.device !== undefined && this.admits(request))
      return this.device.bearer();
    return bearerOf(request);
  }
}

/** Refuses what {@link RequestBearer} does not admit, before anything of the request is looked at. */
@Injectable()
export class TokenOrLocalGuard implements CanActivate {
  constructor(private readonly bearer: RequestBearer) {}

  canActivate(context: ExecutionContext): boolean {
    if (this.bearer.admits(context.switchToHttp().getRequest<FastifyRequest>())) return true;
    throw new IdentityError('token.missing', 'Log in first: an access token is needed.');
  }
}
