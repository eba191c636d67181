import { randomUUID } from 'node:crypto';

import {
  type LegacyAccount,
  LegacyApi,
  legacyLogin,
  S3LegacyParts,
  S3LegacySink,
} from '@azaion/adapters/legacy-protocol';
import { type ApiClient, type IssuedTokens } from '@azaion/adapters/resource-api';
import { type AccessTokenIssuer, IdentityError, parseRole, type Role } from '@azaion/identity';
import { type Clock, Secret } from '@azaion/kernel';

/** Claim names under which older servers put the role. */
const ROLE_CLAIMS = ['role', 'http://schemas.microsoft.com/ws/2008/06/identity/claims/role'];
/** Most accounts kept at once; the one that logged in longest ago is forgotten. */
const MAX_ACCOUNTS = 256;

/** What one login at the older Admin API is good for. */
export interface LegacySession {
  readonly api: LegacyApi;
  readonly cdn: S3LegacyParts;
  readonly sink: S3LegacySink;
}

/**
 * Who is logged in at an older Admin API through this Loader. The password is needed for every small part, so it stays here, in memory
 * only and for as long as the session. Callers get a token of this Loader's own: what older servers sign, nobody else can verify.
 */
export class LegacyAccounts {
  private readonly sessions = new Map<string, LegacySession & { readonly expiresAtMs: number }>();

  /** @param issuer - Signs with a key that this process made for itself. */
  constructor(
    private readonly client: ApiClient,
    private readonly issuer: AccessTokenIssuer,
    private readonly clock: Clock,
    private readonly hardwareFingerprint: string | undefined,
  ) {}

  /** @throws IdentityError `login.wrong-credentials` | `login.rate-limited`; ResourceError `api.*`. */
  async logIn(email: string, password: Secret<string>): Promise<IssuedTokens> {
    const account: LegacyAccount = { email, password, hardwareFingerprint: this.hardwareFingerprint };
    const olderToken = await legacyLogin(this.client, account);
    const api = new LegacyApi(this.client, account, olderToken);
    const config = (): ReturnType<LegacyApi['cdnConfig']> => api.cdnConfig(new AbortController().signal);
    const sessionId = randomUUID();
    const expiresInSeconds = this.issuer.lifetimeSeconds;
    this.dropOld();
    this.sessions.set(sessionId, {
      api,
      cdn: new S3LegacyParts(config),
      sink: new S3LegacySink(config),
      expiresAtMs: this.clock.nowMs() + expiresInSeconds * 1000,
    });
    // It came straight from the Admin API in answer to the password: its claims need no signature here.
    const role = roleIn(olderToken.reveal());
    const accessToken = await this.issuer.issue({ userId: email, email, role, sessionId });
    return { accessToken: new Secret(accessToken), expiresInSeconds, refreshToken: undefined };
  }

  /** @throws IdentityError `token.invalid` when nothing is kept for that session any more. */
  of(sessionId: string): LegacySession {
    const session = this.sessions.get(sessionId);
    if (session === undefined) throw new IdentityError('token.invalid', 'This session has ended: log in again.');
    return session;
  }

  /** Forgets a session and its password. */
  forget(sessionId: string): void {
    this.sessions.get(sessionId)?.cdn.forget();
    this.sessions.delete(sessionId);
  }

  private dropOld(): void {
    const nowMs = this.clock.nowMs();
    for (const [sessionId, { expiresAtMs }] of this.sessions)
      if (expiresAtMs < nowMs || this.sessions.size >= MAX_ACCOUNTS) this.forget(sessionId);
  }
}

function roleIn(token: string): Role {
  try {
    const claims = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8')) as Record<
      string,
      unknown
    >;
    return ROLE_CLAIMS.map((name) => parseRole(claims[name])).find((role) => role !== undefined) ?? 'None';
  } catch {
    return 'None';
  }
}
