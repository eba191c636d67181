import type { KeyObject } from 'node:crypto';

import { type Caller, LocalTokens, TokenVerifier } from '@azaion/identity';

/** Accepts what the Admin API signed and what this Loader signed for its own device. A token's `typ` decides who judges it; each refuses the other's. */
export class LocalOrApiVerifier extends TokenVerifier {
  constructor(
    private readonly api: TokenVerifier,
    private readonly local: LocalTokens,
  ) {
    super();
  }

  override keyFor(token: string): Promise<KeyObject> {
    return this.verifierOf(token).keyFor(token);
  }

  override verify(token: string): Promise<Caller> {
    return this.verifierOf(token).verify(token);
  }

  private verifierOf(token: string): TokenVerifier {
    return LocalTokens.claims(token) ? this.local : this.api;
  }
}
