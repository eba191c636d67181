import { randomUUID } from 'node:crypto';

import {
  type LegacyAccount,
  LegacyApi,
  legacyLogin,
  S3LegacyParts,
  S3LegacySink,
} from '@azaion/adapters/legacy-protocol';
import type { ApiClient, IssuedTokens } from '@azaion/adapters/resource-api';
import { type AccessTokenIssuer, IdentityError, parseRole, type Role } from '@azaion/identity';
import { type Clock, Secret } from '@azaion/kernel';

/** Claim names under which older servers put the role. */
const ROLE_CLAIMS = ['role', 'http://schemas.microsoft.com/ws/2008/06/identity/claims/role'];
/** Most sessions kept at once; the one that was used longest ago is forgotten, the device's own never. */
const MAX_SESSIONS = 256;
/** Of one account: a client that logs in for each call pushes out its own sessions, not those of others. */
const MAX_SESSIONS_OF_ACCOUNT = 32;
/** How often sessions that have expired are looked for: their passwords have no business here any more. */
const SWEEP_MS = 60_000;

/** What one login at the older Admin API is good for. */
export interface LegacySession {
  readonly api: LegacyApi;
  readonly cdn: S3LegacyParts;
  readonly sink: S3LegacySink;
}

interface KeptSession extends LegacySession {
  readonly email: string;
  /** Of the device itself: never pushed out. */
  readonly isDevice: boolean;
  readonly expiresAtMs: number;
}

/** What sessions of older servers are made with. */
export interface LegacyAccountsOptions {
  /** For servers that still bind accounts to machines. */
  readonly hardwareFingerprint?: string | undefined;
  /** URL of an HTTP proxy, for the CDN. */
  readonly proxy?: string | undefined;
  /** How often sessions that have expired are looked for, default every minute. */
  readonly sweepMs?: number;
}

/**
 * Who is logged in at an older Admin API through this Loader. The password is needed for every small part, so it stays here, in memory
 * only and for as long as the session. Callers get a token of this Loader's own: what older servers sign, nobody else can verify.
 */
export class LegacyAccounts {
  /** In the order of their last use. */
  private readonly sessions = new Map<string, KeptSession>();
  private readonly sweeping: NodeJS.Timeout;

  /** @param issuer - Signs with a key that this process made for itself. */
  constructor(
    private readonly client: ApiClient,
    private readonly issuer: AccessTokenIssuer,
    private readonly clock: Clock,
    private readonly options: LegacyAccountsOptions = {},
  ) {
    this.sweeping = setInterval(() => this.sweep(), options.sweepMs ?? SWEEP_MS).unref();
  }

  /**
   * @param isDevice - Whether it is this machine's own login, which stays for its whole life.
   * @throws IdentityError `login.wrong-credentials` | `login.rate-limited`; ResourceError `api.*`.
   */
  async logIn(email: string, password: Secret<string>, isDevice = false): Promise<IssuedTokens> {
    const { hardwareFingerprint, proxy } = this.options;
    const account: LegacyAccount = { email, password, hardwareFingerprint };
    const olderToken = await legacyLogin(this.client, account);
    const api = new LegacyApi(this.client, account, olderToken);
    const config = (): ReturnType<LegacyApi['cdnConfig']> => api.cdnConfig(new AbortController().signal);
    const sessionId = randomUUID();
    const expiresInSeconds = this.issuer.lifetimeSeconds;
    this.sweep();
    this.makeRoom(email);
    this.sessions.set(sessionId, {
      api,
      cdn: new S3LegacyParts(config, { proxy }),
      sink: new S3LegacySink(config, { proxy }),
      email,
      isDevice,
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
    this.sessions.delete(sessionId);
    this.sessions.set(sessionId, session);
    return session;
  }

  /** Whether a session is kept. It does not count as a use. */
  has(sessionId: string): boolean {
    return this.sessions.has(sessionId);
  }

  /** Forgets a session and its password, and cuts what it reads. */
  forget(sessionId: string): void {
    this.sessions.get(sessionId)?.cdn.forget();
    this.sessions.delete(sessionId);
  }

  /** Forgets everybody. */
  close(): void {
    clearInterval(this.sweeping);
    for (const sessionId of [...this.sessions.keys()]) this.forget(sessionId);
  }

  /** Forgets the sessions that have expired. What they still read goes on to its end. */
  private sweep(): void {
    const nowMs = this.clock.nowMs();
    for (const [sessionId, { expiresAtMs }] of this.sessions) if (expiresAtMs <= nowMs) this.sessions.delete(sessionId);
  }

  private makeRoom(email: string): void {
    const evictable = [...this.sessions].filter(([, { isDevice }]) => !isDevice);
    const own = evictable.filter(([, session]) => session.email === email);
    const [leastUsed] = own.length >= MAX_SESSIONS_OF_ACCOUNT ? own : evictable;
    const isFull = own.length >= MAX_SESSIONS_OF_ACCOUNT || this.sessions.size >= MAX_SESSIONS;
    if (isFull && leastUsed !== undefined) this.sessions.delete(leastUsed[0]);
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
