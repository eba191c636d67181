import { IdentityError } from '@azaion/identity';
import { callerOf } from '@azaion/nest-support';
import { type CanActivate, createParamDecorator, type ExecutionContext, Injectable } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';

import { CurrentStanding, type Standing } from '../sealed/current-standing.js';

/** How the device shows itself whose Loader carries a person's call. */
export const CARRIER = {
  name: 'Azaion-Device',
  required: false,
  description:
    'The access token of the enrolled device whose Loader carries the call: both callers must be in good standing',
};
const standings = new WeakMap<object, Standing>();

/**
 * Lets through whose account, session and device are in good standing right now, on every route that needs a token: a disabled
 * administrator must not be able to enable itself with a token from before. Runs after the token was verified.
 */
export class AccountGuard implements CanActivate {
  constructor(private readonly current: CurrentStanding) {}

  async canActivate(context: ExecutionContext): Promise<boolean> {
    const request = context.switchToHttp().getRequest<FastifyRequest>();
    const caller = callerOf(request);
    if (caller !== undefined) standings.set(request, await this.current.of(caller, request.ip));
    return true;
  }
}

/** For every route under `/sealed`: devices are enrolled there, and whoever carries a call is in good standing too. Runs after {@link AccountGuard}. */
@Injectable()
export class StandingGuard implements CanActivate {
  constructor(private readonly current: CurrentStanding) {}

  async canActivate(context: ExecutionContext): Promise<boolean> {
    const request = context.switchToHttp().getRequest<FastifyRequest>();
    const standing = standings.get(request);
    if (standing === undefined) return false;
    if (standing.role === 'CompanionPC' && standing.deviceSerial === undefined)
      throw new IdentityError('device.not-enrolled', 'A device must be enrolled and log in with its own key.');
    const carrier = request.headers['azaion-device'];
    if (carrier !== undefined) standings.set(request, await this.current.carried(standing, [carrier].flat().join()));
    return true;
  }
}

/** Parameter: the caller as {@link AccountGuard} and {@link StandingGuard} found it. */
export const CallerStanding = createParamDecorator((_: unknown, context: ExecutionContext): Standing => {
  const standing = standings.get(context.switchToHttp().getRequest<object>());
  if (standing === undefined) throw new Error('this route needs no token');
  return standing;
});
