import { callerOf } from '@azaion/nest-support';
import { type CanActivate, createParamDecorator, type ExecutionContext, Injectable } from '@nestjs/common';
import { type FastifyRequest } from 'fastify';

import { CurrentStanding, type Standing } from '../sealed/current-standing.js';

/** How the device shows itself whose Loader carries a person's call. */
export const CARRIER = {
  name: 'Azaion-Device',
  required: false,
  description:
    'The access token of the enrolled device whose Loader carries the call: both callers must be in good standing',
};
const standings = new WeakMap<object, Standing>();

/** Lets through who is in good standing right now, and whose carrier is. For every route under `/sealed`; runs after the token was verified. */
@Injectable()
export class StandingGuard implements CanActivate {
  constructor(private readonly current: CurrentStanding) {}

  async canActivate(context: ExecutionContext): Promise<boolean> {
    const request = context.switchToHttp().getRequest<FastifyRequest>();
    const caller = callerOf(request);
    if (caller === undefined) return false;
    const carrier = request.headers['azaion-device'];
    const carrierToken = Array.isArray(carrier) ? carrier.join() : carrier;
    standings.set(request, await this.current.of(caller, carrierToken, request.ip));
    return true;
  }
}

/** Parameter: the caller as {@link StandingGuard} found it. */
export const CallerStanding = createParamDecorator((_: unknown, context: ExecutionContext): Standing => {
  const standing = standings.get(context.switchToHttp().getRequest<object>());
  if (standing === undefined) throw new Error('this route has no StandingGuard');
  return standing;
});
