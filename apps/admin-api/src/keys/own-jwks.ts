import { JwksSource } from '@azaion/identity';

import type { TokenKeys } from './token-keys.js';

/** The API's own token keys: what it publishes, and verifies its own tokens with. */
export class OwnJwks extends JwksSource {
  constructor(private readonly keys: TokenKeys) {
    super();
  }

  override async currentKeys(): Promise<{ readonly keys: readonly object[] }> {
    const published = await this.keys.published();
    return { keys: published.map(({ kid, key }) => ({ ...key, kid, use: 'sig', alg: 'ES256' })) };
  }
}
