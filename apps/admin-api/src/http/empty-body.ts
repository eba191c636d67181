import { invalidRequest } from '@azaion/nest-support';
import { applyDecorators, type CanActivate, type ExecutionContext, Injectable, UseGuards } from '@nestjs/common';
import { ApiBody } from '@nestjs/swagger';
import type { FastifyRequest } from 'fastify';

/** Refuses every member of a body that says nothing. */
@Injectable()
class EmptyBodyGuard implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    const { body } = context.switchToHttp().getRequest<FastifyRequest>();
    if (body === undefined) return true;
    const fields = typeof body === 'object' && body !== null ? Object.keys(body) : ['body'];
    if (fields.length === 0) return true;
    throw invalidRequest(
      400,
      fields.map((field) => ({ field, messages: ['is not known here'] })),
    );
  }
}

/** The operation's body may be left out, and has no members. */
export function EmptyBody(): MethodDecorator {
  return applyDecorators(
    UseGuards(EmptyBodyGuard),
    ApiBody({ required: false, schema: { type: 'object', additionalProperties: false } }),
  );
}
