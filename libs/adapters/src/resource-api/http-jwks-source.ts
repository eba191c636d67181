import { JwksSource } from '@azaion/identity';

import type { ApiClient } from './api-client.js';

const MAX_JWKS_BYTES = 64 * 1024;

/** The Admin API's `/.well-known/jwks.json` (RFC 7517). */
export class HttpJwksSource extends JwksSource {
  constructor(private readonly client: ApiClient) {
    super();
  }

  override currentKeys(): Promise<unknown> {
    return this.client.json(
      { method: 'GET', path: '/.well-known/jwks.json', expect: [200], maxBytes: MAX_JWKS_BYTES },
      (value) => value,
    );
  }
}
