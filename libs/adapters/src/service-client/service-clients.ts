import createClient, { type Client } from 'openapi-fetch';

import type { paths as AdminApiPaths } from './generated/admin-api.js';
import type { paths as LoaderPaths } from './generated/loader.js';

/** The routes of the Admin API with the types of its OpenAPI document. Answers are what the contract says; nothing of them has been checked. */
export type AdminApiClient = Client<AdminApiPaths>;

/** The routes of a Loader, likewise. */
export type LoaderClient = Client<LoaderPaths>;

/** Where a service is and how it is called. */
export interface ServiceClientOptions {
  readonly baseUrl: string;
  /** Makes each call: the place for tokens, time limits and errors. The platform's `fetch` unless given. */
  readonly fetch?: (request: Request) => Promise<Response>;
}

/** A client of the Admin API. It does no more than the platform's `fetch`: an answer that is no success comes back as `error`. */
export function adminApiClient(options: ServiceClientOptions): AdminApiClient {
  return createClient<AdminApiPaths>({ ...options });
}

/** A client of a Loader, likewise. */
export function loaderClient(options: ServiceClientOptions): LoaderClient {
  return createClient<LoaderPaths>({ ...options });
}
