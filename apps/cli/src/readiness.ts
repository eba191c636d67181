import { failure } from './failure-table.js';
import { call } from './http.js';

/** What keeps a service from serving. */
export interface DownCheck {
  readonly check: string;
  /** A sentence, or what the check is in. */
  readonly reason: string;
}

/**
 * F6: whether a service can serve now, as its probe says.
 *
 * @param url - Base URL of the service.
 * @returns What is down; nothing of it when the service is ready.
 * @throws CliFailure as every call; exit `internal` when the answer is not that of a probe.
 */
export async function whatIsDown(url: string, signal: AbortSignal): Promise<readonly DownCheck[]> {
  const answer = await call({ method: 'GET', url: `${url}/health/ready`, signal, alsoAnswers: [503] });
  const { status, error } = membersOf(await answer.json().catch(() => undefined));
  if (status !== 'ok' && status !== 'error')
    throw failure('service.unexpected', `${url}/health/ready answered outside its contract.`);
  return Object.entries(membersOf(error)).map(([check, state]) => {
    const { message } = membersOf(state);
    return { check, reason: typeof message === 'string' && message !== '' ? message : 'down' };
  });
}

function membersOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}
