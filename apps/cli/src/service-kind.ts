import { usageFailure } from './cli-failure.js';

const ASK_TIMEOUT_MS = 5_000;

/**
 * Makes sure that credentials go to the kind of service that was meant. Only a Loader has `GET /status`. A service that does not answer
 * is left to the call that follows, which says so.
 *
 * @throws CliFailure exit `usage` with the option to use instead.
 */
export async function assertServiceKind(service: string, kind: 'api' | 'loader', signal: AbortSignal): Promise<void> {
  const isLoader = await answersAsLoader(service, signal);
  if (isLoader === undefined || isLoader === (kind === 'loader')) return;
  throw isLoader
    ? usageFailure(
        `${service} is a Loader, not the Admin API.`,
        `Use --loader ${service}, or give the URL of the Admin API.`,
      )
    : usageFailure(
        `${service} is not a Loader.`,
        `Use --api ${service} if it is the Admin API, or give the URL of the Loader.`,
      );
}

async function answersAsLoader(service: string, signal: AbortSignal): Promise<boolean | undefined> {
  try {
    const response = await fetch(`${service}/status`, {
      redirect: 'error',
      signal: AbortSignal.any([signal, AbortSignal.timeout(ASK_TIMEOUT_MS)]),
    });
    if (response.status === 404) {
      await response.body?.cancel();
      return false;
    }
    const body: unknown = await response.json();
    return typeof body === 'object' && body !== null && 'modelCacheDir' in body ? true : undefined;
  } catch {
    return undefined;
  }
}
