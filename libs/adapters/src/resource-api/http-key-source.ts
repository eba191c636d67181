import { Secret } from '@azaion/kernel';
import { KeySource, UnlockError } from '@azaion/unlock';

import type { AccessTokens } from './access-tokens.js';
import type { ApiClient } from './api-client.js';

const MAX_FRAGMENT_BYTES = 64 * 1024;

/** Key fragments from the Admin API, for one caller. */
export class HttpKeySource extends KeySource {
  constructor(
    private readonly client: ApiClient,
    private readonly tokens: AccessTokens,
    private readonly deviceTokens?: AccessTokens,
  ) {
    super();
  }

  override async fragment(archive: string, signal: AbortSignal): Promise<Secret<Uint8Array>> {
    const { body } = await this.client.call(
      {
        method: 'GET',
        path: `/binary-split/key-fragment?archive=${encodeURIComponent(archive)}`,
        tokens: this.tokens,
        deviceTokens: this.deviceTokens,
        expect: [200],
        maxBytes: MAX_FRAGMENT_BYTES,
        signal,
      },
      ({ status }) => refusal(status),
    );
    if (body.length === 0) throw noKey();
    const fragment = new Uint8Array(body);
    body.fill(0);
    return new Secret(fragment);
  }
}

function refusal(status: number): UnlockError | undefined {
  switch (status) {
    case 401:
      return new UnlockError(
        'unlock.credentials-rejected',
        'The Admin API does not accept this session: log in again.',
      );
    case 403:
      return new UnlockError('unlock.forbidden', 'This account may not open the image archive.');
    case 404:
      return noKey();
    default:
      return undefined;
  }
}

function noKey(): UnlockError {
  return new UnlockError(
    'unlock.key-not-found',
    'The Admin API has no key for this archive. Register the archive there, then start again.',
  );
}
