import type { Caller, Role } from '@azaion/identity';
import type { Clock } from '@azaion/kernel';
import { callerOf, outcomeOf, type ProblemDocument, whenAnswered } from '@azaion/nest-support';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';

/** Somebody who called with a good token. */
export interface ActivePerson {
  readonly userId: string;
  readonly email: string;
  readonly role: Role;
  /** Milliseconds since 1970. */
  readonly lastSeenMs: number;
  /** When the token that was sent last ends; milliseconds since 1970. */
  readonly expiresAtMs: number;
}

/** A resource that was sent to its last byte. */
export interface ServedResource {
  readonly folder: string;
  readonly name: string;
  readonly version: number;
  readonly lastServedMs: number;
  readonly times: number;
}

/** A request that could not be served. */
export interface FailedRequest {
  /** Whose request it was; `undefined` for one without a token. */
  readonly userId: string | undefined;
  readonly atMs: number;
  readonly method: string;
  readonly path: string;
  readonly status: number;
  readonly code: string;
  readonly detail: string;
  readonly requestId: string;
}

const MAX_PEOPLE = 100;
const MAX_RESOURCES = 100;
const MAX_FAILURES = 20;
/** Older services call these without a token. */
const LOCAL_ROUTES = ['/load/:filename', '/upload/:filename'];
const SERVING_ROUTES = ['/load/:filename', '/resources/:folder/:filename'];

/** What happened here lately, for whoever looks after this Loader. In memory, bounded, gone after a restart. */
export class Activity {
  /** By session, the one seen last at the end. */
  private readonly seen = new Map<string, ActivePerson>();
  private readonly served = new Map<string, ServedResource>();
  private readonly failed: FailedRequest[] = [];

  constructor(private readonly clock: Clock) {}

  /** Watches every answer of an application. Call it before the application is initialised. */
  watch(fastify: FastifyInstance): void {
    whenAnswered(fastify, (request, reply) => this.record(request, reply));
  }

  /** People whose token is good still, the one seen last first. */
  people(): readonly ActivePerson[] {
    const nowMs = this.clock.nowMs();
    return [...this.seen.values()].filter(({ expiresAtMs }) => expiresAtMs > nowMs).reverse();
  }

  /** Resources that were served since the start, the last one first. */
  resources(): readonly ServedResource[] {
    return [...this.served.values()].reverse();
  }

  /** The last requests that failed, the last one first. What anybody could make fail to push the others out is not among them. */
  failures(): readonly FailedRequest[] {
    return [...this.failed].reverse();
  }

  private record(request: FastifyRequest, reply: FastifyReply): void {
    const nowMs = this.clock.nowMs();
    const caller = callerOf(request);
    const route = request.routeOptions.url ?? '';
    if (caller !== undefined) this.recordSeen(caller, route);
    const { problem, complete } = outcomeOf(request, reply);
    if (problem === undefined) {
      if (complete) this.recordServed(request, reply, route, nowMs);
    } else if (counts(problem.status, route, caller !== undefined)) {
      this.recordFailed(request, problem, caller?.userId, nowMs);
    }
  }

  /** Takes note of somebody whose token is good. @param route - That was called. */
  recordSeen({ userId, email, role, sessionId, expiresAt }: Caller, route: string): void {
    this.seen.delete(sessionId);
    if (route === '/logout') return;
    const person = { userId, email, role, lastSeenMs: this.clock.nowMs(), expiresAtMs: expiresAt * 1000 };
    keepNewest(this.seen, MAX_PEOPLE, sessionId, person);
  }

  private recordServed(request: FastifyRequest, reply: FastifyReply, route: string, nowMs: number): void {
    const version = Number(reply.getHeader('x-resource-version'));
    if (!SERVING_ROUTES.includes(route) || !Number.isInteger(version)) return;
    // Both are routes whose names have been checked by the time there is a version.
    const { folder = '', filename = '' } = {
      ...(request.body as { folder?: string } | undefined),
      ...(request.params as { folder?: string; filename?: string }),
    };
    const key = `${folder}/${filename}`;
    const times = (this.served.get(key)?.times ?? 0) + 1;
    this.served.delete(key);
    keepNewest(this.served, MAX_RESOURCES, key, { folder, name: filename, version, lastServedMs: nowMs, times });
  }

  private recordFailed(
    request: FastifyRequest,
    problem: ProblemDocument,
    userId: string | undefined,
    nowMs: number,
  ): void {
    const { status, code, detail, requestId, instance } = problem;
    this.failed.push({
      userId,
      atMs: nowMs,
      method: request.method,
      path: instance.slice(0, 200),
      status,
      code,
      detail,
      requestId,
    });
    if (this.failed.length > MAX_FAILURES) this.failed.shift();
  }
}

function counts(status: number, route: string, known: boolean): boolean {
  return status >= 500 || (status !== 401 && (known || LOCAL_ROUTES.includes(route)));
}

function keepNewest<Value>(map: Map<string, Value>, most: number, key: string, value: Value): void {
  map.set(key, value);
  const [oldest] = map.keys();
  if (map.size > most && oldest !== undefined) map.delete(oldest);
}
