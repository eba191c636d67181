import { Agent, type Dispatcher, ProxyAgent, request } from 'undici';

import { IdentityError } from '@azaion/identity';
import type { DomainError } from '@azaion/kernel';
import { ResourceError } from '@azaion/split-resource';

import type { AccessTokens } from './access-tokens.js';
import { AnswerShapeError } from './api-answer.js';

/** How to reach the Admin API. */
export interface ApiClientOptions {
  /** Base URL, with or without a path. */
  readonly baseUrl: string;
  /** Permits `http:` to other machines. Tokens and passwords then travel in clear. */
  readonly allowInsecure?: boolean;
  /** PEM of the certificate authorities to trust instead of the platform's. */
  readonly ca?: string | undefined;
  /** URL of an HTTP proxy. */
  readonly proxy?: string | undefined;
  /** Headers that every call carries beside its own, asked for at each: what ties it to the request that caused it. */
  readonly contextHeaders?: () => Readonly<Record<string, string>>;
  /** Time to connect, default 10 s. */
  readonly connectTimeoutMs?: number;
  /** Time until the answer's headers, default 30 s. */
  readonly headersTimeoutMs?: number;
  /** Longest pause inside an answer, default 15 s. */
  readonly bodyTimeoutMs?: number;
}

/** One call. */
export interface ApiCall {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** Path below the base; its parts are encoded by {@link apiPath}. */
  readonly path: string;
  readonly json?: object;
  readonly bytes?: Uint8Array;
  /** The `ETag` of an answer at hand (RFC 9110 §13.1.2); 304 must then be expected. */
  readonly ifNoneMatch?: string | undefined;
  /** Of `bytes`; `application/octet-stream` unless given. */
  readonly mediaType?: string;
  /** The caller's token. */
  readonly tokens?: AccessTokens | undefined;
  /** The device's own token, sent as `Azaion-Device`. */
  readonly deviceTokens?: AccessTokens | undefined;
  /** Statuses that are a success. */
  readonly expect: readonly number[];
  /** Refuse a longer answer. */
  readonly maxBytes: number;
  /** For the whole call where the default of 120 s is too short. */
  readonly deadlineMs?: number;
  readonly signal?: AbortSignal | undefined;
}

/** An answer with a status that was expected. The body is untrusted. */
export interface ApiResponse {
  readonly status: number;
  readonly body: Buffer;
  readonly etag?: string | undefined;
}

/** What the API said when it refused: untrusted, for the mapping to codes only. */
export interface ApiProblem {
  readonly status: number;
  /** The problem document's `code`, if it has one of a sensible form. */
  readonly code: string | undefined;
  readonly members: Readonly<Record<string, unknown>>;
  readonly retryAfterSeconds: number | undefined;
}

const LOOPBACK = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/;
/** 403 that says what the caller may not do, not that a session has ended. */
const REFUSED_FOR_GOOD: readonly string[] = ['folder.forbidden', 'resource.forbidden', 'role.forbidden'];
const ETAG = /^"[\x21\x23-\x7e]{1,128}"$/;
const MAX_PROBLEM_BYTES = 64 * 1024;
const DEFAULT_DEADLINE_MS = 120_000;
const NO_CONTENT = 204;

/**
 * Checks the base URL before any credential goes there.
 *
 * @returns What is wrong with it, as the end of a sentence that starts with its name; `undefined` when it may be used.
 */
export function apiUrlProblem(baseUrl: string, allowInsecure: boolean): string | undefined {
  if (!URL.canParse(baseUrl)) return 'is not a URL';
  const url = new URL(baseUrl);
  if (url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '')
    return 'must hold no credentials, query or fragment';
  if (url.protocol === 'https:') return undefined;
  if (url.protocol !== 'http:') return 'must be an https URL';
  return LOOPBACK.test(url.hostname) || allowInsecure
    ? undefined
    : 'must be an https URL: credentials go there (http is accepted for loopback only)';
}

/** Joins path parts, each encoded. */
export function apiPath(...parts: readonly (string | number)[]): string {
  return `/${parts.map((part) => encodeURIComponent(part)).join('/')}`;
}

/**
 * HTTP to the Admin API: time limits on every phase, bounded answers, no redirects, one repeat with a renewed token.
 * It never logs and never puts an upstream's text into an error.
 */
export class ApiClient {
  private readonly baseUrl: string;
  private readonly dispatcher: Dispatcher;
  private serverTime: { readonly dateMs: number; readonly atMs: number } | undefined;

  /** @throws TypeError when the URL may not be used, see {@link apiUrlProblem}. */
  constructor(private readonly options: ApiClientOptions) {
    const problem = apiUrlProblem(options.baseUrl, options.allowInsecure ?? false);
    if (problem !== undefined) throw new TypeError(`The URL of the Admin API ${problem}.`);
    this.baseUrl = options.baseUrl.replace(/\/+$/, '');
    const tls = options.ca === undefined ? {} : { ca: options.ca };
    const timeouts = {
      headersTimeout: options.headersTimeoutMs ?? 30_000,
      bodyTimeout: options.bodyTimeoutMs ?? 15_000,
    };
    const connectTimeoutMs = options.connectTimeoutMs ?? 10_000;
    this.dispatcher =
      options.proxy === undefined
        ? new Agent({ ...timeouts, connect: { ...tls, timeout: connectTimeoutMs } })
        : new ProxyAgent({ ...timeouts, uri: options.proxy, requestTls: { ...tls, timeout: connectTimeoutMs } });
  }

  /**
   * Makes one call.
   *
   * @param refusal - What an unexpected status means here; `undefined` leaves it to the general rule.
   * @throws ResourceError `api.unauthorized` | `api.forbidden` | `api.unreachable` | `api.unexpected`; IdentityError `login.rate-limited`; whatever `refusal` returns.
   */
  async call(call: ApiCall, refusal?: (problem: ApiProblem) => DomainError | undefined): Promise<ApiResponse> {
    const [token, deviceToken] = await Promise.all([call.tokens?.current(), call.deviceTokens?.current()]);
    let answer = await this.send(call, token, deviceToken);
    if (mayBeTheToken(answer)) {
      // One repeat when either session has something newer (system.md F1).
      const [renewed, renewedDevice] = await Promise.all([
        token === undefined ? undefined : call.tokens?.renew?.(token),
        deviceToken === undefined ? undefined : call.deviceTokens?.renew?.(deviceToken),
      ]);
      if (renewed !== undefined || renewedDevice !== undefined)
        answer = await this.send(call, renewed ?? token, renewedDevice ?? deviceToken);
    }
    if (call.expect.includes(answer.status)) return answer;
    const problem = readProblem(answer);
    throw refusal?.(problem) ?? generalRefusal(problem);
  }

  /**
   * Makes one call and reads its JSON answer.
   *
   * @param read - Checks shape and bounds, of `undefined` when the status is 204; what it throws becomes `api.unexpected`.
   * @throws As {@link call}.
   */
  async json<T>(
    call: ApiCall,
    read: (value: unknown, status: number) => T,
    refusal?: (problem: ApiProblem) => DomainError | undefined,
  ): Promise<T> {
    const { body, status } = await this.call(call, refusal);
    return readJson(status === NO_CONTENT ? undefined : body, (value) => read(value, status));
  }

  /**
   * The time by the `Date` of the last answer and what has passed since, in milliseconds since 1970. Nobody signed it: good for guessing
   * that one's own clock is wrong, never for judging what expires.
   */
  serverTimeMs(): number | undefined {
    return this.serverTime && this.serverTime.dateMs + performance.now() - this.serverTime.atMs;
  }

  /** Closes the connections; calls under way fail with `api.unreachable`. */
  async close(): Promise<void> {
    await this.dispatcher.destroy();
  }

  private async send(
    call: ApiCall,
    token: string | undefined,
    deviceToken: string | undefined,
  ): Promise<ApiResponse & { readonly retryAfter: string | undefined }> {
    const headers: Record<string, string> = { ...this.options.contextHeaders?.(), accept: 'application/json' };
    if (token !== undefined) headers['authorization'] = `Bearer ${token}`;
    if (deviceToken !== undefined) headers['azaion-device'] = deviceToken;
    if (call.ifNoneMatch !== undefined) headers['if-none-match'] = call.ifNoneMatch;
    if (call.json !== undefined) headers['content-type'] = 'application/json';
    else if (call.bytes !== undefined) headers['content-type'] = call.mediaType ?? 'application/octet-stream';
    const deadlineMs = call.deadlineMs ?? DEFAULT_DEADLINE_MS;
    const deadline = AbortSignal.timeout(deadlineMs);
    try {
      const answer = await request(this.baseUrl + call.path, {
        dispatcher: this.dispatcher,
        method: call.method,
        headers,
        body: call.json === undefined ? (call.bytes ?? null) : JSON.stringify(call.json),
        headersTimeout: call.deadlineMs ?? this.options.headersTimeoutMs ?? 30_000,
        signal: call.signal === undefined ? deadline : AbortSignal.any([call.signal, deadline]),
      });
      const dateMs = Date.parse(String(answer.headers['date']));
      if (Number.isFinite(dateMs)) this.serverTime = { dateMs, atMs: performance.now() };
      const expected = call.expect.includes(answer.statusCode);
      const limitBytes = expected ? call.maxBytes : MAX_PROBLEM_BYTES;
      const parts: Buffer[] = [];
      let sizeBytes = 0;
      for await (const part of answer.body as AsyncIterable<Buffer>) {
        sizeBytes += part.length;
        if (sizeBytes > limitBytes) {
          if (expected) throw new AnswerShapeError('length');
          break; // a refusal stays a refusal, however long its text
        }
        parts.push(part);
      }
      const { etag, 'retry-after': retryAfter } = answer.headers;
      return {
        status: answer.statusCode,
        body: Buffer.concat(parts),
        etag: typeof etag === 'string' && ETAG.test(etag) ? etag : undefined,
        retryAfter: typeof retryAfter === 'string' ? retryAfter : undefined,
      };
    } catch (cause) {
      call.signal?.throwIfAborted();
      if (cause instanceof AnswerShapeError) throw unexpected(cause);
      throw new ResourceError(
        'api.unreachable',
        'The Admin API cannot be reached: check the network and its address.',
        {
          cause,
        },
      );
    }
  }
}

/** Reads a JSON answer; `undefined` for one without a body. @throws ResourceError `api.unexpected` when it is none, or not of the shape that `read` wants. */
export function readJson<T>(body: Buffer | undefined, read: (value: unknown) => T): T {
  let value: unknown;
  try {
    value = body === undefined ? undefined : JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body));
  } catch (cause) {
    throw unexpected(cause);
  }
  try {
    return read(value);
  } catch (cause) {
    if (cause instanceof AnswerShapeError || cause instanceof SyntaxError || cause instanceof TypeError)
      throw unexpected(cause);
    throw cause;
  }
}

/** Whether a newer token might help. A refusal of what the caller wants stays one, whoever logs in again. */
function mayBeTheToken(answer: ApiResponse & { readonly retryAfter: string | undefined }): boolean {
  if (answer.status === 401) return true;
  return answer.status === 403 && !REFUSED_FOR_GOOD.includes(readProblem(answer).code ?? '');
}

/** An answer outside the contract. */
export function unexpected(cause: unknown, requestId?: string): ResourceError {
  return new ResourceError('api.unexpected', 'The Admin API gave an answer outside its contract.', {
    cause,
    ...(requestId === undefined ? {} : { details: { requestId } }),
  });
}

/** By which its operator finds a failed request; untrusted, so only what looks like an id. */
function requestIdIn({ members }: ApiProblem): string | undefined {
  const id = members['requestId'];
  return typeof id === 'string' && /^[A-Za-z0-9_.:-]{8,128}$/.test(id) ? id : undefined;
}

function readProblem(answer: ApiResponse & { readonly retryAfter: string | undefined }): ApiProblem {
  let members: Record<string, unknown> = {};
  try {
    const parsed: unknown = JSON.parse(answer.body.toString('utf8'));
    if (typeof parsed === 'object' && parsed !== null) members = parsed as Record<string, unknown>;
  } catch {
    // A gateway's page: the status has to do.
  }
  const code = members['code'];
  const seconds = Number(answer.retryAfter);
  return {
    status: answer.status,
    code: typeof code === 'string' && /^[a-z-]{1,32}\.[a-z-]{1,48}$/.test(code) ? code : undefined,
    members,
    retryAfterSeconds: Number.isSafeInteger(seconds) && seconds > 0 && seconds <= 86_400 ? seconds : undefined,
  };
}

function generalRefusal(problem: ApiProblem): DomainError {
  const cause = { status: problem.status, code: problem.code };
  switch (problem.status) {
    case 401:
      return new ResourceError('api.unauthorized', 'The Admin API does not accept the token: log in again.', { cause });
    case 403:
      return new ResourceError('api.forbidden', 'The Admin API does not permit this to the caller.', { cause });
    case 429:
      return new IdentityError('login.rate-limited', 'The Admin API received too many requests: wait and try again.', {
        cause,
        ...(problem.retryAfterSeconds === undefined
          ? {}
          : { details: { retryAfterSeconds: problem.retryAfterSeconds } }),
      });
    case 502:
    case 503:
    case 504:
      return new ResourceError('api.unreachable', 'The Admin API is not available right now: try again later.', {
        cause,
      });
    default:
      return unexpected(cause, requestIdIn(problem));
  }
}
