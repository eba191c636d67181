import { createHash, type KeyObject, timingSafeEqual } from 'node:crypto';

import { type Caller, IdentityError, TokenVerifier } from '@azaion/identity';
import { DomainError, type Secret } from '@azaion/kernel';
import { type CanActivate, type ExecutionContext, Injectable } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import type { FastifyReply, FastifyRequest } from 'fastify';
import passport from 'passport';
import { ExtractJwt, Strategy } from 'passport-jwt';

import { ACCESS_RULE, type AccessRule, callerOf, setCaller } from './access.js';
import { HttpProblem } from './problem.js';
import { RecentTokens, type TokenMemory } from './recent-tokens.js';

/** Reads the rule of the route, the method's before the class's. */
export function ruleOf(reflector: Reflector, context: ExecutionContext): AccessRule {
  const rule = reflector.getAllAndOverride<AccessRule | undefined>(ACCESS_RULE, [
    context.getHandler(),
    context.getClass(),
  ]);
  if (rule === undefined) throw new HttpProblem('route.undeclared', 'Nobody may use this address.');
  return rule;
}

/**
 * Verifies the bearer token of a request (RFC 6750) with passport-jwt. Its key provider asks the domain's verifier for the caller and for
 * the one key that may have signed the token; the library then checks the signature with that key once more.
 */
@Injectable()
export class BearerGuard implements CanActivate {
  /** An instance of its own: passport's shared one would mix up the applications of one process. */
  private readonly passport = new passport.Passport();

  private readonly recent: RecentTokens | undefined;

  /**
   * @param scrapeToken - Opens the routes of `AllowScrape`; nobody's when there is none.
   * @param memory - For how long a token that was verified is not verified again; every time when left out.
   */
  constructor(
    private readonly reflector: Reflector,
    verifier: TokenVerifier,
    private readonly scrapeToken?: Secret<string>,
    memory?: TokenMemory,
  ) {
    this.passport.use(bearerStrategy(verifier));
    this.recent = memory && new RecentTokens(memory);
  }

  async canActivate(context: ExecutionContext): Promise<boolean> {
    const rule = ruleOf(this.reflector, context);
    if (rule.kind === 'public') return true;
    const http = context.switchToHttp();
    const request = http.getRequest<FastifyRequest>();
    const { authorization } = request.headers;
    if (rule.kind === 'optional' && authorization === undefined) return true;
    if (rule.kind === 'scrape' && isScrapeToken(authorization, this.scrapeToken)) return true;
    setCaller(request, await this.authenticate(request, http.getResponse<FastifyReply>()));
    return true;
  }

  private async authenticate(request: FastifyRequest, reply: FastifyReply): Promise<Caller> {
    const token = this.recent && bearerToken(request);
    if (this.recent === undefined || typeof token !== 'string') return this.verify(request, reply);
    const known = this.recent.find(token);
    if (known !== undefined) return known;
    const caller = await this.verify(request, reply);
    this.recent.keep(token, caller);
    return caller;
  }

  private verify(request: FastifyRequest, reply: FastifyReply): Promise<Caller> {
    return new Promise((resolve, reject) => {
      const answer = (error: unknown, caller: unknown, info: unknown): void => {
        if (caller) resolve(caller as Caller);
        else reject(refusal(error ?? info));
      };
      const authenticate = this.passport.authenticate('jwt', { session: false }, answer) as PassportMiddleware;
      authenticate(request, reply, reject);
    });
  }
}

/** Compares hashes: their length is the same, and the time says nothing about the token. */
function isScrapeToken(authorization: string | undefined, token: Secret<string> | undefined): boolean {
  const sent = /^bearer +(\S+) *$/i.exec(authorization ?? '')?.[1];
  if (sent === undefined || token === undefined) return false;
  const hash = (text: string): Buffer => createHash('sha256').update(text).digest();
  return timingSafeEqual(hash(sent), hash(token.reveal()));
}

const bearerToken = ExtractJwt.fromAuthHeaderAsBearerToken();

type PassportMiddleware = (request: object, reply: object, next: (error: unknown) => void) => void;

function bearerStrategy(verifier: TokenVerifier): Strategy {
  const verified = new WeakMap<object, Caller>();
  return new Strategy(
    {
      jwtFromRequest: bearerToken,
      algorithms: ['ES256'],
      ignoreExpiration: true, // the domain judges the times, by its own clock
      passReqToCallback: true,
      secretOrKeyProvider: (request: object, token: string, done) => {
        // The domain judges the whole token first: the library fails in ways of its own over what is not well formed.
        verifier
          .verify(token)
          .then((caller) => {
            verified.set(request, caller);
            return verifier.keyFor(token);
          })
          .then(
            (key) => done(null, asTyped(key)),
            (error: unknown) => done(error),
          );
      },
    },
    (request: object, _claims: unknown, done: (error: unknown, caller?: Caller) => void) =>
      done(null, verified.get(request)),
  );
}

/** The library takes a key object as it is; its types know of text and bytes only, which it would have to parse at every request. */
function asTyped(key: KeyObject): Buffer {
  return key as unknown as Buffer;
}

/** passport-jwt reports a missing token and its own refusals as plain errors. */
function refusal(reason: unknown): Error {
  if (reason instanceof DomainError) return reason;
  if (reason instanceof Error && reason.message === 'No auth token')
    return new IdentityError('token.missing', 'Log in first: an access token is needed.');
  if (reason instanceof Error && reason.name === 'JsonWebTokenError')
    return new IdentityError('token.invalid', 'The access token is not valid.', { cause: reason });
  return reason instanceof Error ? reason : new Error('the token could not be verified', { cause: reason });
}

/** Decides by named roles. Runs after {@link BearerGuard}. */
@Injectable()
export class RolesGuard implements CanActivate {
  constructor(private readonly reflector: Reflector) {}

  canActivate(context: ExecutionContext): boolean {
    const rule = ruleOf(this.reflector, context);
    if (rule.kind === 'public') return true;
    const caller = callerOf(context.switchToHttp().getRequest<object>());
    // The bearer guard let it pass: nobody calls, or a scraper does.
    if (caller === undefined && (rule.kind === 'optional' || rule.kind === 'scrape')) return true;
    if (caller === undefined) throw new IdentityError('token.missing', 'Log in first: an access token is needed.');
    if (!rule.roles.includes(caller.role)) throw new IdentityError('role.forbidden', 'Your role does not allow this.');
    return true;
  }
}
