const TIMEOUT_MS = 60_000;

/** One call to a service of the demo. */
export interface JsonCall {
  readonly token?: string;
  readonly body?: unknown;
  /** Statuses that are fine; default every 2xx. */
  readonly expect?: readonly number[];
}

/** What a service answered. */
export interface JsonAnswer {
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>>;
}

/** Makes one call. @throws Error naming the call and what was answered when the status is not fine. */
export async function callService(method: 'GET' | 'POST', url: string, call: JsonCall = {}): Promise<JsonAnswer> {
  const response = await openService(method, url, call);
  const text = await response.text();
  return { status: response.status, body: text === '' ? {} : (JSON.parse(text) as Record<string, unknown>) };
}

/** Makes one call and leaves the body to be read. @throws as {@link callService}. */
export async function openService(method: 'GET' | 'POST', url: string, call: JsonCall = {}): Promise<Response> {
  const response = await fetch(url, {
    method,
    headers: {
      ...(call.token === undefined ? {} : { authorization: `Bearer ${call.token}` }),
      ...(call.body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(call.body === undefined ? {} : { body: JSON.stringify(call.body) }),
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  const fine = call.expect === undefined ? response.ok : call.expect.includes(response.status);
  if (!fine) throw new Error(`${method} ${url} answered ${response.status}: ${(await response.text()).slice(0, 500)}`);
  return response;
}
