import { TokenVerifier } from '@azaion/identity';
import type { Secret } from '@azaion/kernel';
import multipart, { type FastifyMultipartOptions } from '@fastify/multipart';
import { type DynamicModule, Module, type Type } from '@nestjs/common';
import { NestFactory, Reflector } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { Logger } from 'nestjs-pino';

import { AllowedMethods } from './allowed-methods.js';
import { answerClientError } from './client-error.js';
import { allowOrigins } from './cross-origin.js';
import { BearerGuard, RolesGuard } from './guards.js';
import { measureRequests } from './http-metrics.js';
import { createLogger, logAnswers, loggerModule, type LogOptions } from './logging.js';
import type { Metrics } from './metrics.js';
import { MetricsModule } from './metrics.module.js';
import { API_CSP, type ApiDescription, DOCS_CSP, serveOpenApi } from './openapi.js';
import { HttpProblem, type ProblemOptions } from './problem.js';
import { pathOf, ProblemFilter, watchStreams } from './problem-filter.js';
import { BINARY_MEDIA_TYPE } from './raw-body.js';
import { rebindingProblem } from './rebinding.js';
import type { TokenMemory } from './recent-tokens.js';
import { REQUEST_ID_HEADER, requestIdOf } from './request-id.js';
import { SilentConnections } from './silent-connections.js';
import { DEFAULT_SLOW_REQUEST_LIMITS, type SlowRequestLimits, SlowRequests } from './slow-requests.js';
import { followTraces } from './trace-context.js';
import { cameOverUnixSocket, serveOnUnixSocket, type UnixSocket } from './unix-socket.js';
import { StrictValidationPipe } from './validation.js';

/** What differs between the applications. Sizes in bytes, times in milliseconds. */
export interface AppOptions {
  readonly api: Omit<ApiDescription, 'validationStatus'>;
  /** Status of a request that does not match its class. */
  readonly validationStatus: 400 | 422;
  /** Largest JSON body; 1 MiB unless given. Binary and multipart bodies are streams with limits of their own. */
  readonly jsonBodyLimitBytes?: number;
  /** How slow requests may arrive; {@link DEFAULT_SLOW_REQUEST_LIMITS} unless given. */
  readonly slowRequests?: Partial<SlowRequestLimits>;
  /** Origins whose pages may call with a bearer token and read the answers (CORS). None unless given. */
  readonly allowedOrigins?: readonly string[];
  /** Proxies whose `X-Forwarded-For` is believed: addresses or networks. None unless given. */
  readonly trustedProxies?: readonly string[];
  /** Accepts multipart bodies, as streams that the handler reads with `request.parts()`. */
  readonly multipart?: Pick<FastifyMultipartOptions, 'limits'>;
  /** Addresses that once existed: nothing is there, whatever is sent and whichever other route would match. */
  readonly retiredPaths?: readonly string[];
  /** Certificate chain and key (PEM); plain HTTP unless given. */
  readonly tls?: { readonly cert: string | Buffer; readonly key: string | Buffer };
  /** Names under which the service may be addressed beside `localhost` and plain IP addresses; any name unless given. */
  readonly allowedHosts?: readonly string[];
  /** Listens there too. */
  readonly unixSocket?: UnixSocket | undefined;
  /** Time that running requests get at shutdown before their connections are cut; 8 s unless given, so that the process is gone after ten. */
  readonly shutdownGraceMs?: number;
  /** Counts requests and serves `/metrics`; neither unless given. */
  readonly metrics?: {
    readonly registry: Metrics;
    /** Of the scraper; without one only administrators read them. */
    readonly scrapeToken?: Secret<string> | undefined;
  };
  /** For applications that look at account and session at every request: tokens are not verified again for a moment. Each time unless given. */
  readonly tokenMemory?: TokenMemory;
  readonly log?: LogOptions;
  readonly problems?: ProblemOptions;
}

const DEFAULT_SHUTDOWN_GRACE_MS = 8_000;

/** Wraps the application's module with what every application has. */
@Module({})
class ApplicationRoot {}

/**
 * Builds an application that is ready to listen: Fastify, problem documents, strict validation, bearer tokens and named roles on every
 * route, request ids, JSON logs, security headers, OpenAPI and an orderly shutdown on SIGTERM and SIGINT.
 *
 * @param module - The composition root. It must provide a `TokenVerifier` somewhere.
 */
export async function createApp(module: Type | DynamicModule, options: AppOptions): Promise<NestFastifyApplication> {
  const filter = new ProblemFilter(options.problems);
  const limits = { ...DEFAULT_SLOW_REQUEST_LIMITS, ...options.slowRequests };
  // No time for a whole request: uploads may take long. How slow their bodies may be is watched for.
  const timeouts = { headersTimeout: limits.headersMs, requestTimeout: 0, connectionsCheckingInterval: limits.checkMs };
  const adapter = new FastifyAdapter({
    bodyLimit: options.jsonBodyLimitBytes ?? 1024 * 1024,
    requestTimeout: timeouts.requestTimeout,
    trustProxy: options.trustedProxies === undefined ? false : [...options.trustedProxies],
    genReqId: requestIdOf,
    requestIdHeader: false,
    logger: false,
    return503OnClosing: false, // answered below, with a problem document
    routerOptions: { maxParamLength: 512 },
    clientErrorHandler: answerClientError,
    frameworkErrors: (error: unknown, request: FastifyRequest, reply: FastifyReply) => {
      setCommonHeaders(request, reply);
      filter.answer(error, request, reply);
    },
    ...(options.tls === undefined ? { http: timeouts } : { https: { ...options.tls, ...timeouts } }),
  } as ConstructorParameters<typeof FastifyAdapter>[0]);
  const fastify = adapter.getInstance<FastifyInstance>();
  const logger = createLogger(options.log);
  logAnswers(fastify, logger);
  if (options.metrics !== undefined) measureRequests(fastify, options.metrics.registry);
  configureFastify(fastify, options, limits);
  watchStreams(fastify, filter);
  followTraces(fastify);

  const imports = [loggerModule(logger), module];
  if (options.metrics !== undefined) imports.push(MetricsModule.register(options.metrics.registry));
  const root: DynamicModule = { module: ApplicationRoot, imports };
  // eslint-disable-next-line @typescript-eslint/no-unsafe-class-instance-assignment -- Nest declares its options as a class
  const app = await NestFactory.create<NestFastifyApplication>(root, adapter, {
    bodyParser: false,
    bufferLogs: true,
    abortOnError: false,
  });
  app.useLogger(app.get(Logger));
  if (options.multipart !== undefined) await app.register(multipart, options.multipart);
  const reflector = app.get(Reflector);
  const verifier = app.get(TokenVerifier, { strict: false });
  app.useGlobalGuards(
    new BearerGuard(reflector, verifier, options.metrics?.scrapeToken, options.tokenMemory),
    new RolesGuard(reflector),
  );
  app.useGlobalPipes(new StrictValidationPipe(options.validationStatus));
  app.useGlobalFilters(filter);
  app.enableShutdownHooks(['SIGTERM', 'SIGINT']);
  serveOpenApi(app, { ...options.api, validationStatus: options.validationStatus });
  return app;
}

function configureFastify(fastify: FastifyInstance, options: AppOptions, limits: SlowRequestLimits): void {
  const slow = new SlowRequests(limits);
  slow.watch(fastify.server);
  const allowed = new AllowedMethods();
  let closing = false;
  fastify.addHook('onRoute', ({ method, url }) => allowed.add(method, url));
  fastify.addHook('onRequest', (request, reply, done) => {
    setCommonHeaders(request, reply);
    if (closing) void reply.header('connection', 'close');
    done();
  });
  if (options.allowedOrigins !== undefined && options.allowedOrigins.length > 0)
    allowOrigins(fastify, options.allowedOrigins, (url) => allowed.of(pathOf(url)));
  fastify.addHook('onRequest', (request, _reply, done) => done(earlyProblem(request, options, allowed, closing)));
  const graceMs = options.shutdownGraceMs ?? DEFAULT_SHUTDOWN_GRACE_MS;
  if (options.unixSocket !== undefined)
    slow.watch(serveOnUnixSocket(fastify, options.unixSocket, graceMs, limits.headersMs));
  const silent = new SilentConnections(fastify.server);
  fastify.addHook('preClose', (done) => {
    closing = true;
    silent.close();
    setTimeout(() => fastify.server.closeAllConnections(), graceMs).unref();
    done();
  });
  fastify.removeAllContentTypeParsers();
  const parseJson = fastify.getDefaultJsonParser('error', 'error');
  fastify.addContentTypeParser('application/json', { parseAs: 'string' }, (request, body, done) => {
    // An empty body is no body: clients send the media type with every POST.
    if (body.length === 0) done(null, undefined);
    else void parseJson(request, body as string, done);
  });
  fastify.addContentTypeParser(BINARY_MEDIA_TYPE, (_request, payload, done) => {
    done(null, payload);
  });
}

/** What refuses a request before its body is read. */
function earlyProblem(
  request: FastifyRequest,
  options: AppOptions,
  allowed: AllowedMethods,
  closing: boolean,
): HttpProblem | undefined {
  if (closing) return new HttpProblem('server.unavailable', 'The service is shutting down: try again later.');
  if (options.retiredPaths?.includes(decodedPath(request.url)) === true) return notFound();
  const refused =
    options.allowedHosts === undefined || cameOverUnixSocket(request)
      ? undefined
      : rebindingProblem(request, options.allowedHosts);
  if (refused !== undefined || !request.is404) return refused;
  const methods = allowed.of(pathOf(request.url));
  // Answered here: behind this hook the body would be read first, and a bad one would be told from a good one.
  if (methods.length === 0) return notFound();
  return new HttpProblem('route.method-not-allowed', 'This address does not know that method.', {
    headers: { allow: methods.join(', ') },
  });
}

function notFound(): HttpProblem {
  return new HttpProblem('route.not-found', 'There is nothing at this address.');
}

function decodedPath(url: string): string {
  const path = pathOf(url);
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}

function setCommonHeaders(request: FastifyRequest, reply: FastifyReply): void {
  const docs = request.url === '/docs' || request.url.startsWith('/docs/');
  void reply.headers({
    [REQUEST_ID_HEADER]: request.id,
    'content-security-policy': docs ? DOCS_CSP : API_CSP,
    'x-content-type-options': 'nosniff',
    'x-frame-options': 'DENY',
    'referrer-policy': 'no-referrer',
    'cross-origin-resource-policy': 'same-origin',
    'cross-origin-opener-policy': 'same-origin',
  });
}
