import { generateP256KeyPair, importSigningKey, keyThumbprint, type PublicJwk, type SigningKey } from '@azaion/crypto';

import { JwksSource } from '../jwks.js';

/** A JWK set in memory that can be rotated, taken offline, and counts how often it was fetched. */
export class InMemoryJwksSource extends JwksSource {
  /** How often the set was asked for. */
  fetches = 0;
  /** Thrown instead of an answer, while set. */
  failure: Error | undefined;
  private readonly keys: (PublicJwk & { readonly kid: string })[] = [];

  /** Publishes a new key and returns its private half. */
  async publish(): Promise<SigningKey> {
    const { privateJwk, publicJwk } = await generateP256KeyPair();
    const kid = await keyThumbprint(publicJwk);
    this.keys.push({ ...publicJwk, kid });
    return importSigningKey(kid, privateJwk);
  }

  /** Takes a key out of the set. */
  withdraw(kid: string): void {
    this.keys.splice(
      this.keys.findIndex((key) => key.kid === kid),
      1,
    );
  }

  override currentKeys(): Promise<unknown> {
    this.fetches += 1;
    return this.failure === undefined
      ? Promise.resolve({ keys: this.keys.map((key) => ({ ...key, use: 'sig', alg: 'ES256' })) })
      : Promise.reject(this.failure);
  }
}
