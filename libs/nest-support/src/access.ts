import { type Role, type Caller, WORKING_ROLES } from '@azaion/identity';
import { createParamDecorator, type CustomDecorator, type ExecutionContext, SetMetadata } from '@nestjs/common';
import { ApiBearerAuth } from '@nestjs/swagger';

/** Who may call a route. A route without a rule is refused. */
export type AccessRule =
  | { readonly kind: 'public' }
  /** A token is needed, of one of these roles. */
  | { readonly kind: 'roles'; readonly roles: readonly Role[] }
  /** Without a token the handler decides; a token that is sent must be good and of one of these roles. */
  | { readonly kind: 'optional'; readonly roles: readonly Role[] }
  /** The service's own scrape token, or a token of one of these roles. */
  | { readonly kind: 'scrape'; readonly roles: readonly Role[] };

/** Metadata key of the rule. */
export const ACCESS_RULE = 'azaion:access';

type RuleDecorator = MethodDecorator & ClassDecorator;

/** Open to everybody; a token is not even looked at. */
export function Public(): CustomDecorator {
  return SetMetadata(ACCESS_RULE, { kind: 'public' } satisfies AccessRule);
}

/** Open to callers with one of the named roles. */
export function AllowRoles(...roles: readonly [Role, ...Role[]]): RuleDecorator {
  return withBearer({ kind: 'roles', roles });
}

/** Open to every caller whose role is not None. */
export function AnyRole(): RuleDecorator {
  return withBearer({ kind: 'roles', roles: WORKING_ROLES });
}

/** A token is optional: the handler decides what goes without one. A token that is sent must be good and of one of the roles. */
export function OptionalCaller(...roles: readonly Role[]): RuleDecorator {
  return withBearer({ kind: 'optional', roles: roles.length === 0 ? WORKING_ROLES : roles });
}

/** Open to whoever holds the scrape token of this service (`METRICS_TOKEN_FILE`), and to callers with one of the roles. */
export function AllowScrape(...roles: readonly [Role, ...Role[]]): RuleDecorator {
  return withBearer({ kind: 'scrape', roles });
}

function withBearer(rule: AccessRule): RuleDecorator {
  return (target: object, key?: string | symbol, descriptor?: PropertyDescriptor) => {
    if (key === undefined || descriptor === undefined) {
      SetMetadata(ACCESS_RULE, rule)(target as never);
      ApiBearerAuth()(target as never);
      return;
    }
    SetMetadata(ACCESS_RULE, rule)(target, key, descriptor);
    ApiBearerAuth()(target, key, descriptor);
  };
}

const callers = new WeakMap<object, Caller>();

/** Remembers the verified caller of a request. Only a guard that verified the token may call it. */
export function setCaller(request: object, caller: Caller): void {
  callers.set(request, caller);
}

/** The verified caller of a request; `undefined` when no token was sent to a route that does not need one. */
export function callerOf(request: object): Caller | undefined {
  return callers.get(request);
}

/** Parameter: the verified caller; `undefined` only on routes whose rule is not `AllowRoles` or `AnyRole`. */
export const CurrentCaller = createParamDecorator((_: unknown, context: ExecutionContext) =>
  callerOf(context.switchToHttp().getRequest<object>()),
);
