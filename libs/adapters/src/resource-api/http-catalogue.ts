import { NAME_PATTERN } from '@azaion/kernel';

import type { AccessTokens } from './access-tokens.js';
import { ApiAnswer } from './api-answer.js';
import { type ApiClient, apiPath } from './api-client.js';

const MAX_RESOURCES = 10_000;
/** Pages of a folder that are asked for: a million names. */
const MAX_PAGES = 100;
const MAX_LIST_BYTES = 8 * 1024 * 1024;

/** One resource of a folder as the Admin API lists it. Unsigned: for people to read, never for a decision. */
export interface CatalogueEntry {
  readonly name: string;
  readonly kind: 'file' | 'images';
  readonly latestVersion: number;
  readonly totalBytes: number;
}

/** What a folder holds, for one caller. */
export class HttpCatalogue {
  constructor(
    private readonly client: ApiClient,
    private readonly tokens: AccessTokens,
    private readonly deviceTokens?: AccessTokens,
  ) {}

  /** @throws ResourceError `api.unauthorized` | `api.forbidden` | `api.unreachable` | `api.unexpected`. */
  async list(folder: string): Promise<readonly CatalogueEntry[]> {
    const found: CatalogueEntry[] = [];
    let cursor: string | undefined;
    for (let pages = 0; pages < MAX_PAGES; pages += 1) {
      const page = await this.page(folder, cursor);
      found.push(...page.resources);
      cursor = page.cursor;
      if (cursor === undefined) break;
    }
    return found;
  }

  private page(
    folder: string,
    cursor: string | undefined,
  ): Promise<{ readonly resources: readonly CatalogueEntry[]; readonly cursor: string | undefined }> {
    const query = cursor === undefined ? '' : `?cursor=${encodeURIComponent(cursor)}`;
    return this.client.json(
      {
        method: 'GET',
        path: apiPath('sealed', folder) + query,
        tokens: this.tokens,
        deviceTokens: this.deviceTokens,
        expect: [200],
        maxBytes: MAX_LIST_BYTES,
      },
      (value) => {
        const answer = new ApiAnswer(value);
        return {
          resources: answer.list('resources', MAX_RESOURCES).map((entry) => ({
            name: entry.text('name', 200, NAME_PATTERN),
            kind: entry.oneOf('kind', ['file', 'images']),
            latestVersion: entry.count('latestVersion', 0, 0xffff_ffff),
            totalBytes: entry.count('totalBytes', 0, Number.MAX_SAFE_INTEGER),
          })),
          cursor: answer.has('cursor') ? answer.text('cursor', 200, NAME_PATTERN) : undefined,
        };
      },
    );
  }
}
