import { type KeyObject, randomUUID } from 'node:crypto';

import { importSigningKey, keyThumbprint, type PrivateJwk } from '@azaion/crypto';
import type { Clock } from '@azaion/kernel';
import { decodeProtectedHeader } from 'jose';

import { AccessTokenIssuer, LOCAL_TOKEN_TYPE } from './access-token.js';
import { JwksSource } from './jwks.js';
import { JwksTokenVerifier } from './jwks-token-verifier.js';
import { type Caller, TokenVerifier } from './token-verifier.js';

/** `aud` of local tokens: nobody but the Loader that issued them. */
const AUDIENCE = 'azaion-loader';
/** Life of a local token at most. */
export const LOCAL_TOKEN_SECONDS = 15 * 60;

/** Whose tokens they are. */
export interface LocalAccount {
  readonly serial: string;
  readonly email: string;
}

/**
 * The tokens that a Loader hands out for its own device while the Admin API is out of reach. Issuer, audience, `typ` and key are its own,
 * so that neither takes the other's. Source: docs/threat-model.md, "Offline".
 */
export class LocalTokens extends TokenVerifier {
  private constructor(
    private readonly account: LocalAccount,
    private readonly issuer: AccessTokenIssuer,
    private readonly verifier: JwksTokenVerifier,
  ) {
    super();
  }

  /** @param key - Of this device for this use only. @throws CryptoError `keys.invalid`. */
  static async create(account: LocalAccount, key: PrivateJwk, clock: Clock): Promise<LocalTokens> {
    const kid = await keyThumbprint(key);
    const signing = await importSigningKey(kid, key);
    const profile = { issuer: `azaion-loader/${account.serial}`, audience: AUDIENCE, type: LOCAL_TOKEN_TYPE };
    const { kty, crv, x, y } = key;
    const source = new OwnKey({ keys: [{ kty, crv, x, y, kid, use: 'sig', alg: 'ES256' }] });
    return new LocalTokens(
      account,
      new AccessTokenIssuer(() => Promise.resolve(signing), clock, {
        ...profile,
        lifetimeSeconds: LOCAL_TOKEN_SECONDS,
      }),
      new JwksTokenVerifier(source, clock, profile),
    );
  }

  /** Whether a token says that it is local. @param token - Untrusted text: it only decides who refuses it. */
  static claims(token: string): boolean {
    try {
      return decodeProtectedHeader(token).typ === LOCAL_TOKEN_TYPE;
    } catch {
      return false;
    }
  }

  /** A token for the device. @param lifetimeSeconds - At most {@link LOCAL_TOKEN_SECONDS} count. */
  issue(lifetimeSeconds: number): Promise<string> {
    const { serial, email } = this.account;
    return this.issuer.issue(
      { userId: serial, email, role: 'CompanionPC', sessionId: `local-${randomUUID()}`, deviceSerial: serial },
      lifetimeSeconds,
    );
  }

  override keyFor(token: string): Promise<KeyObject> {
    return this.verifier.keyFor(token);
  }

  override async verify(token: string): Promise<Caller> {
    return { ...(await this.verifier.verify(token)), local: true };
  }
}

class OwnKey extends JwksSource {
  constructor(private readonly jwks: object) {
    super();
  }

  override currentKeys(): Promise<unknown> {
    return Promise.resolve(this.jwks);
  }
}
