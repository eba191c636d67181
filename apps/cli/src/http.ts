import { failure, failureOf, systemErrorCode } from './failure-table.js';
import { type CliFailure } from './cli-failure.js';
import { type ExitName } from './exit-codes.js';

const MAX_PROBLEM_BYTES = 64 * 1024;
const ANSWER_TIMEOUT_MS = 60_000;

/** One call to a service. */
export interface ServiceCall {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** Base URL without trailing slash plus path. */
  readonly url: string;
  /** Sent as JSON. */
  readonly body?: unknown;
  readonly token?: string | undefined;
  readonly accept?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal | undefined;
  /** Until the answer's headers; default one minute. */
  readonly timeoutMs?: number;
}

/** Calls a service; every answer but a 2xx becomes a failure that says what it means. The caller reads or cancels the body. */
export async function call(request: ServiceCall): Promise<Response> {
  const { method, url, body, token, accept, signal } = request;
  const headers = new Headers({ ...request.headers, accept: accept ?? 'application/json' });
  if (token !== undefined) headers.set('authorization', `Bearer ${token}`);
  if (body !== undefined) headers.set('content-type', 'application/json');
  const waiting = new AbortController();
  const timer = setTimeout(() => waiting.abort(), request.timeoutMs ?? ANSWER_TIMEOUT_MS);
  let response: Response;
  try {
    response = await fetch(url, {
      method,
      headers,
      redirect: 'error', // a redirect would carry the token elsewhere
      signal: signal === undefined ? waiting.signal : AbortSignal.any([signal, waiting.signal]),
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  } catch (error) {
    if (signal?.aborted === true) throw failureOf(signal.reason);
    throw unreachable(url, error);
  } finally {
    clearTimeout(timer);
  }
  if (response.ok) return response;
  throw await problemFailure(url, response);
}

/** Calls a service and reads its JSON object. */
export async function callJson(request: ServiceCall): Promise<Readonly<Record<string, unknown>>> {
  const response = await call(request);
  const value: unknown = await response.json().catch(() => undefined);
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw failure('internal', 'service.unexpected', `${origin(request.url)} answered outside its contract.`);
  return value as Record<string, unknown>;
}

/** Says that a service cannot be reached, and why as far as the system tells. */
export function unreachable(url: string, cause: unknown): CliFailure {
  const code = systemErrorCode(cause);
  const why =
    code === 'ECONNREFUSED'
      ? 'nothing listens there'
      : code === 'ENOTFOUND' || code === 'EAI_AGAIN'
        ? 'the host name is not known'
        : code !== undefined && code.includes('CERT')
          ? 'its certificate is not trusted'
          : 'it does not answer';
  return failure('network', 'service.unreachable', `${origin(url)} cannot be reached: ${why}.`, undefined, cause);
}

/** Reads a problem document (RFC 9457). Its `detail` is a plain sentence made for callers. */
export async function problemFailure(url: string, response: Response): Promise<CliFailure> {
  const problem = await readProblem(response);
  const code = text(problem['code']) ?? `http.${String(response.status)}`;
  const detail = text(problem['detail']) ?? text(problem['Message']) ?? text(problem['title']) ?? 'It gave no reason.';
  return failure(
    exitForStatus(response.status, code),
    code,
    `${origin(url)} answered ${String(response.status)}: ${detail}`,
    response.status === 429 ? retryAfter(response) : response.status >= 500 ? reportable(problem) : undefined,
  );
}

/** What the operator of the service finds the fault by. */
function reportable(problem: Readonly<Record<string, unknown>>): string | undefined {
  const id = text(problem['requestId']);
  return id === undefined
    ? undefined
    : `Try again; if it stays, give the operator of the service this request id: ${id}`;
}

function exitForStatus(status: number, code: string): ExitName {
  if (code === 'resource.integrity') return 'integrity';
  switch (status) {
    case 400:
    case 422:
      return 'usage';
    case 401:
    case 403:
      return 'forbidden';
    case 404:
    case 410:
      return 'not-found';
    case 502:
    case 503:
    case 504:
      return 'network';
    case 507:
      return 'no-space';
    default:
      return status < 500 ? 'refused' : 'internal';
  }
}

function retryAfter(response: Response): string {
  const seconds = Number(response.headers.get('retry-after'));
  return Number.isFinite(seconds) && seconds > 0
    ? `Wait ${String(Math.ceil(seconds))} seconds and try again.`
    : 'Wait a few minutes and try again.';
}

async function readProblem(response: Response): Promise<Readonly<Record<string, unknown>>> {
  const declared = Number(response.headers.get('content-length') ?? 0);
  if (!(response.headers.get('content-type') ?? '').includes('json') || declared > MAX_PROBLEM_BYTES) {
    await response.body?.cancel();
    return {};
  }
  const value: unknown = await response.json().catch(() => undefined);
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

function origin(url: string): string {
  return URL.canParse(url) ? new URL(url).origin : url;
}
