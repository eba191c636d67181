import { remedyFor } from './remedies.js';
import { failure, failureOf, refusal, systemErrorCode } from './failure-table.js';
import type { CliFailure } from './cli-failure.js';

const MAX_PROBLEM_BYTES = 64 * 1024;
const ANSWER_TIMEOUT_MS = 60_000;

/** One call to a service whose answer is a stream, or none: for everything else there are typed clients. */
export interface ServiceCall {
  readonly method: 'GET' | 'POST';
  /** Base URL without trailing slash plus path. */
  readonly url: string;
  readonly token?: string | undefined;
  readonly accept?: string;
  readonly signal?: AbortSignal | undefined;
  /** Until the answer's headers; default one minute. */
  readonly timeoutMs?: number;
  /** Statuses beside 2xx that are answers too, unless a problem document comes with them. */
  readonly alsoAnswers?: readonly number[];
}

/** Calls a service; what is no answer, by its status, becomes a failure that says what it means. The caller reads or cancels the body. */
export async function call({ method, url, token, accept, ...request }: ServiceCall): Promise<Response> {
  const headers = new Headers({ accept: accept ?? 'application/json' });
  if (token !== undefined) headers.set('authorization', `Bearer ${token}`);
  return answered(new Request(url, { method, headers }), request.signal, request.timeoutMs, request.alsoAnswers);
}

/** How a typed client calls: as {@link call} does, with a token that is asked for at each call. */
export function callsWith(
  token: (() => Promise<string>) | undefined,
  signal: AbortSignal,
): (request: Request) => Promise<Response> {
  return async (request) => {
    if (token !== undefined) request.headers.set('authorization', `Bearer ${await token()}`);
    return answered(request, signal);
  };
}

/** The content of an answer that a typed client got. @throws CliFailure exit `internal` when it is none. */
export function contentOf<T>({ data, response }: { readonly data?: T; readonly response: Response }): T {
  if (typeof data === 'object' && data !== null && !Array.isArray(data)) return data;
  throw failure('service.unexpected', `${origin(response.url)} answered outside its contract.`);
}

/**
 * The body of an answer that is a stream.
 *
 * @throws CliFailure exit `network` at an end that comes too early: never a short file.
 */
export async function* wholeBody(response: Response, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  const cutOff = (cause?: unknown): CliFailure =>
    failure('service.cut-off', `${origin(response.url)} ended the transfer early.`, { cause });
  const announced = response.headers.get('content-length');
  let seenBytes = 0;
  try {
    for await (const bytes of (response.body ?? []) as AsyncIterable<Uint8Array>) {
      seenBytes += bytes.length;
      yield bytes;
    }
  } catch (error) {
    throw signal.aborted ? failureOf(signal.reason) : cutOff(error);
  }
  if (announced !== null && seenBytes !== Number(announced)) throw cutOff();
}

async function answered(
  request: Request,
  signal: AbortSignal | undefined,
  timeoutMs = ANSWER_TIMEOUT_MS,
  alsoAnswers: readonly number[] = [],
): Promise<Response> {
  const waiting = new AbortController();
  const timer = setTimeout(() => waiting.abort(), timeoutMs);
  let response: Response;
  try {
    response = await fetch(request, {
      redirect: 'error', // a redirect would carry the token elsewhere
      signal: signal === undefined ? waiting.signal : AbortSignal.any([signal, waiting.signal]),
    });
  } catch (error) {
    if (signal?.aborted === true) throw failureOf(signal.reason);
    throw unreachable(request.url, error);
  } finally {
    clearTimeout(timer);
  }
  const isProblem = (response.headers.get('content-type') ?? '').startsWith('application/problem+json');
  if (response.ok || (alsoAnswers.includes(response.status) && !isProblem)) return response;
  throw await problemFailure(request.url, response);
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
  return failure('service.unreachable', `${origin(url)} cannot be reached: ${why}.`, { cause });
}

/** Reads a problem document (RFC 9457). Its `detail` is a plain sentence made for callers. */
export async function problemFailure(url: string, response: Response): Promise<CliFailure> {
  const problem = await readProblem(response);
  const code = text(problem['code']) ?? `http.${String(response.status)}`;
  const detail = text(problem['detail']) ?? text(problem['Message']) ?? text(problem['title']) ?? 'It gave no reason.';
  return refusal(
    response.status,
    code,
    `${origin(url)} answered ${String(response.status)}: ${detail}`,
    response.status === 429 ? retryAfter(response) : (remedyFor(code) ?? reportable(response.status, problem)),
  );
}

/** What the operator of the service finds the fault by. */
function reportable(status: number, problem: Readonly<Record<string, unknown>>): string | undefined {
  const id = text(problem['requestId']);
  return status < 500 || id === undefined
    ? undefined
    : `Try again; if it stays, give the operator of the service this request id: ${id}`;
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
