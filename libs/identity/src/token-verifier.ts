import type { KeyObject } from 'node:crypto';

import type { Role } from './roles.js';

/** A person or device whose access token has been verified. */
export interface Caller {
  /** User id (`sub`). */
  readonly userId: string;
  readonly email: string;
  readonly role: Role;
  /** Session id (`sid`): what belongs to one login. */
  readonly sessionId: string;
  /** Token id (`jti`). */
  readonly tokenId: string;
  /** Seconds since 1970. */
  readonly expiresAt: number;
  /** The device's serial, for tokens that an enrolled device got for its key. */
  readonly deviceSerial: string | undefined;
  /** Set for a token that a Loader issued by itself while the Admin API was out of reach: it opens what the device has leases for, and nothing else. */
  readonly local?: boolean;
}

/** Verifies access tokens. */
export abstract class TokenVerifier {
  /**
   * Applies the header rules (ES256, the expected `typ`, a known `kid`, nothing else) and names the one key that may have signed the token.
   *
   * @param token - Untrusted text; after this call its signature and claims are still unverified.
   * @throws IdentityError `token.invalid`; the key source's own error when no key set is at hand.
   */
  abstract keyFor(token: string): Promise<KeyObject>;

  /**
   * Verifies signature (ES256 pinned), `typ`, `iss`, `aud`, `exp`, `nbf` and the members of {@link Caller} (RFC 8725, RFC 9068).
   *
   * @param token - Untrusted text.
   * @throws IdentityError `token.invalid` | `token.expired`; the key source's own error when no key set is at hand.
   */
  abstract verify(token: string): Promise<Caller>;
}
