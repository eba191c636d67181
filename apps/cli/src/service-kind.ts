import { usageFailure } from './cli-failure.js';
import type { Service } from './service.js';

const ASK_TIMEOUT_MS = 5_000;

/**
 * Makes sure that credentials go to the kind of service that was meant. Only a Loader has `GET /status`. A service that does not answer
 * is left to the call that follows, which says so.
 *
 * @throws CliFailure exit `usage` with the option to use instead.
 */
export async function assertServiceKind({ kind, url }: Service, signal: AbortSignal): Promise<void> {
  const isLoader = await answersAsLoader(url, signal);
  if (isLoader === undefined || isLoader === (kind === 'loader')) return;
  throw isLoader
    ? usageFailure(`${url} is a Loader, not the Admin API.`, `Use --loader ${url}, or give the URL of the Admin API.`)
    : usageFailure(
        `${url} is not a Loader.`,
        `Use --api ${url} if it is the Admin API, or give the URL of the Loader.`,
      );
}

async function answersAsLoader(url: string, signal: AbortSignal): Promise<boolean | undefined> {
  try {
    const response = await fetch(`${url}/status`, {
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
