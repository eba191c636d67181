import { NAME_PATTERN } from '@azaion/kernel';

import { type AccessTokens } from './access-tokens.js';
import { ApiAnswer } from './api-answer.js';
import { type ApiClient, apiPath } from './api-client.js';

const MAX_RESOURCES = 10_000;
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
  list(folder: string): Promise<readonly CatalogueEntry[]> {
    return this.client.json(
      {
        method: 'GET',
        path: apiPath('sealed', folder),
        tokens: this.tokens,
        deviceTokens: this.deviceTokens,
        expect: [200],
        maxBytes: MAX_LIST_BYTES,
      },
      (value) =>
        new ApiAnswer(value).list('resources', MAX_RESOURCES).map((entry) => ({
          name: entry.text('name', 200, NAME_PATTERN),
          kind: entry.oneOf('kind', ['file', 'images']),
          latestVersion: entry.count('latestVersion', 0, 0xffff_ffff),
          totalBytes: entry.count('totalBytes', 0, Number.MAX_SAFE_INTEGER),
        })),
    );
  }
}
