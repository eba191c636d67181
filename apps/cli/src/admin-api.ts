import { adminApiClient, type AdminApiClient } from '@azaion/adapters/service-client';

import { type CommandContext, findService } from './command-context.js';
import { failure } from './failure-table.js';
import { callsWith, contentOf } from './http.js';
import type { Service } from './service.js';

/** The most entries that the Admin API puts on a page. */
export const PAGE_ENTRIES = 200;

/** The Admin API as the commands of the person who is logged in call it. */
export class AdminApi {
  private constructor(
    readonly service: Service,
    /** Its routes, by the types of its contract. Every answer but a 2xx has become a failure. */
    readonly routes: AdminApiClient,
  ) {}

  /** @param option - `--api`. @throws CliFailure exit `usage` where no address is known. */
  static async open(context: CommandContext, option: string | undefined): Promise<AdminApi> {
    const service = await findService(context, 'api', option);
    const fetch = callsWith(() => context.session.token(service), context.signal);
    return new AdminApi(service, adminApiClient({ baseUrl: service.url, fetch }));
  }
}

/** Which page of a list. */
interface PageQuery {
  readonly limit: number;
  /** What the page before has named; none for the first. */
  readonly cursor?: string;
}

/** A page of a list. */
interface Page {
  readonly data?: { readonly cursor?: string };
  readonly response: Response;
}

/**
 * A whole list, page by page.
 *
 * @param ask - Asks for one page.
 * @param entries - The entries of a page.
 */
export async function allPages<Answer extends Page, Entry>(
  ask: (page: PageQuery) => Promise<Answer>,
  entries: (page: NonNullable<Answer['data']>) => readonly Entry[],
): Promise<Entry[]> {
  const all: Entry[] = [];
  let cursor: string | undefined;
  for (;;) {
    const answer = await ask({ limit: PAGE_ENTRIES, ...(cursor === undefined ? {} : { cursor }) });
    const page = contentOf(answer) as NonNullable<Answer['data']>;
    const found: unknown = entries(page);
    if (!Array.isArray(found)) throw failure('service.unexpected', 'The Admin API answered outside its contract.');
    all.push(...(found as Entry[]));
    if (page.cursor === undefined || page.cursor === cursor) return all;
    cursor = page.cursor;
  }
}
