import { JwksSource } from '@azaion/identity';

import { type SigningKeys } from './signing-keys.js';

/** The API's own token keys: what it publishes, and verifies its own tokens with. */
export class OwnJwks extends JwksSource {
  constructor(private readonly keys: SigningKeys) {
    super();
  }

  override async currentKeys(): Promise<{ readonly keys: readonly object[] }> {
    await this.keys.signing('token');
    const published = await this.keys.published('token');
    return { keys: published.map(({ kid, key }) => ({ ...key, kid, use: 'sig', alg: 'ES256' })) };
  }
}
