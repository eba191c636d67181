import type { DynamicModule } from '@nestjs/common';
import type { FastifyInstance } from 'fastify';
import { LoggerModule } from 'nestjs-pino';
import { type DestinationStream, type Logger as PinoLogger, type LoggerOptions, pino } from 'pino';

import { outcomeOf } from './problem-filter.js';
import { currentRequestId, traceIdOf } from './trace-context.js';
import { whenAnswered } from './when-answered.js';

/** Members whose values never reach a log, wherever they stand in the first levels of an entry. */
const SECRET_MEMBERS = [
  'authorization',
  'cookie',
  '"set-cookie"',
  '"azaion-device"',
  'password',
  'token',
  'access_token',
  'refresh_token',
  'accessToken',
  'refreshToken',
  'assertion',
  'secret',
];

/** Where and how much is logged. */
export interface LogOptions {
  /** Least level written; `info` unless given. */
  readonly level?: 'fatal' | 'error' | 'warn' | 'info' | 'debug' | 'trace' | 'silent';
  /** Where JSON lines go; standard output unless given. */
  readonly destination?: DestinationStream;
}

/** Hides query strings in every URL of a text: they may carry a signature or a token. */
export function redactQueries(text: string): string {
  return text.replace(/(\bhttps?:\/\/[^\s"'<>?#]*|(?<![^\s"'(])\/[^\s"'<>?#]*)\?[^\s"'<>]*/g, '$1?[redacted]');
}

/**
 * Pino settings shared by the applications. Entries are JSON lines; secrets and query strings are replaced by `[redacted]`. Those that are written
 * while a request is answered have its id.
 */
export function pinoOptions(options: LogOptions = {}): LoggerOptions {
  return {
    level: options.level ?? 'info',
    redact: {
      paths: SECRET_MEMBERS.flatMap((name) => {
        const member = name.startsWith('"') ? `[${name}]` : `.${name}`;
        return [name.startsWith('"') ? `[${name}]` : name, `*${member}`, `*.*${member}`];
      }),
      censor: '[redacted]',
    },
    serializers: { err: safeError, error: safeError },
    mixin: () => {
      const requestId = currentRequestId();
      return requestId === undefined ? {} : { requestId };
    },
    hooks: {
      logMethod(args, method, level) {
        if (level === INFO && isChatter(args[0]) && !this.isLevelEnabled('debug')) return;
        const message = args[1] ?? messageIn(args[0]);
        const written = message === undefined ? args : [args[0], message, ...args.slice(2)];
        method.apply(
          this,
          written.map((arg) => (typeof arg === 'string' ? redactQueries(arg) : arg)) as Parameters<typeof method>,
        );
      },
    },
  };
}

/** What the framework says of its own assembly: of use only to whoever takes it apart. */
const CHATTER = ['InstanceLoader', 'RoutesResolver', 'RouterExplorer', 'NestFactory', 'NestApplication'];
const INFO = 30;

function isChatter(entry: unknown): boolean {
  const context: unknown =
    typeof entry === 'object' && entry !== null && 'context' in entry ? entry.context : undefined;
  return CHATTER.some((one) => one === context);
}

/** The message that an entry without one gets, of the error in it: pino takes it only after queries were hidden. */
function messageIn(entry: unknown): string | undefined {
  const error = typeof entry === 'object' && entry !== null && 'err' in entry ? entry.err : entry;
  return error instanceof Error ? error.message : undefined;
}

/** An error with its stack and causes, with every query string hidden. */
function safeError(error: unknown, depth = 0): unknown {
  if (!(error instanceof Error)) return typeof error === 'string' ? redactQueries(error) : error;
  const code = (error as { code?: unknown }).code;
  return {
    type: error.name,
    ...(typeof code === 'string' ? { code } : {}),
    message: redactQueries(error.message),
    stack: redactQueries(error.stack ?? ''),
    ...(error.cause === undefined || depth >= 5 ? {} : { cause: safeError(error.cause, depth + 1) }),
  };
}

/** The one logger of an application. */
export function createLogger(options: LogOptions = {}): PinoLogger {
  return options.destination === undefined
    ? pino(pinoOptions(options))
    : pino(pinoOptions(options), options.destination);
}

/** Lets Nest log through a logger, as it is: no entries of its own, no middleware, and errors written as everywhere. */
export function loggerModule(logger: PinoLogger): DynamicModule {
  return LoggerModule.forRoot({ pinoHttp: { logger, autoLogging: false, wrapSerializers: false }, forRoutes: [] });
}

/**
 * Writes one entry for every answer, also to requests that no handler saw, and to those whose connection ended before. Probes and scrapes are left
 * out: they come every few seconds.
 */
export function logAnswers(fastify: FastifyInstance, logger: PinoLogger): void {
  whenAnswered(fastify, (request, reply) => {
    const path = request.url.split('?', 1)[0] ?? '';
    if (path.startsWith('/health') || path === '/metrics') return;
    const { status, complete, problem, brokenBy } = outcomeOf(request, reply);
    logger[status >= 500 ? 'error' : 'info'](
      {
        requestId: request.id,
        traceId: traceIdOf(request),
        method: request.method,
        path,
        status,
        ...(problem === undefined ? {} : { code: problem.code }),
        durationMs: Math.round(reply.elapsedTime),
        ...(brokenBy === undefined ? {} : { err: brokenBy }),
      },
      brokenBy !== undefined
        ? 'answer broken off'
        : complete
          ? 'request answered'
          : 'client left before the answer ended',
    );
  });
}
