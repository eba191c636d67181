import { randomUUID } from 'node:crypto';

import type { SigningKey } from '@azaion/crypto';
import type { Clock } from '@azaion/kernel';
import { SignJWT } from 'jose';

import type { Role } from './roles.js';

/** `typ` of the Admin API's access tokens (RFC 9068 §2.1). */
export const ACCESS_TOKEN_TYPE = 'at+jwt';
/** `typ` of the tokens a Loader hands out by itself while the Admin API is out of reach. */
export const LOCAL_TOKEN_TYPE = 'azaion-local+jwt';

/** What an access token says about its bearer. */
export interface AccessTokenClaims {
  readonly userId: string;
  readonly email: string;
  readonly role: Role;
  readonly sessionId: string;
  /** Only for a device that logged in with its enrolled key. */
  readonly deviceSerial?: string | undefined;
}

/** Who issues tokens for whom, and for how long. */
export interface AccessTokenProfile {
  readonly issuer: string;
  readonly audience: string;
  readonly lifetimeSeconds: number;
  /** {@link ACCESS_TOKEN_TYPE} unless given. */
  readonly type?: string;
}

/** Signs access tokens. Source: docs/reference/sealed-wire.md, "Tokens". */
export class AccessTokenIssuer {
  /**
   * @param signingKey - Asked for each token, so that a rotation takes effect at once.
   */
  constructor(
    private readonly signingKey: () => Promise<SigningKey>,
    private readonly clock: Clock,
    private readonly profile: AccessTokenProfile,
  ) {}

  /** Seconds a token lives: the `expires_in` of a login's answer. */
  get lifetimeSeconds(): number {
    return this.profile.lifetimeSeconds;
  }

  /** The key that signs now, for {@link issue} where nothing may be asked for any more: in the middle of a transaction. */
  key(): Promise<SigningKey> {
    return this.signingKey();
  }

  /**
   * A new token with its own `jti`, valid from now on.
   *
   * @param lifetimeSeconds - Where it must live shorter than the profile says.
   * @param key - From {@link key}; asked for unless given.
   */
  async issue(
    claims: AccessTokenClaims,
    lifetimeSeconds = this.profile.lifetimeSeconds,
    key?: SigningKey,
  ): Promise<string> {
    const { kid, privateKey } = key ?? (await this.signingKey());
    const issuedAt = Math.floor(this.clock.nowMs() / 1000);
    return new SignJWT({
      iss: this.profile.issuer,
      aud: this.profile.audience,
      sub: claims.userId,
      jti: randomUUID(),
      sid: claims.sessionId,
      iat: issuedAt,
      exp: issuedAt + Math.min(lifetimeSeconds, this.profile.lifetimeSeconds),
      nameid: claims.userId,
      unique_name: claims.email,
      role: claims.role,
      ...(claims.deviceSerial === undefined ? {} : { device: claims.deviceSerial }),
    })
      .setProtectedHeader({ alg: 'ES256', kid, typ: this.profile.type ?? ACCESS_TOKEN_TYPE })
      .sign(privateKey);
  }
}
