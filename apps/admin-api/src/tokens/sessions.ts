import { hash, randomBytes, randomUUID } from 'node:crypto';

import type { SigningKey } from '@azaion/crypto';
import { type AccessTokenIssuer, IdentityError, parseRole, type Role } from '@azaion/identity';
import { type Clock, toBase64Url } from '@azaion/kernel';

import type { Actor, AuditLog } from '../audit/audit-log.js';
import type { Database, Queries } from '../persistence/database.js';
import type { LoginLimits } from './login-limits.js';

/** How long a login can be refreshed. */
export interface SessionLifetimes {
  /** Since the last refresh. */
  readonly refreshSeconds: number;
  /** Since the login. */
  readonly sessionSeconds: number;
}

/** What a login or a refresh gives. */
export interface IssuedTokens {
  readonly accessToken: string;
  readonly expiresInSeconds: number;
  readonly refreshToken: string;
  readonly refreshExpiresInSeconds: number;
}

/** Who a session is for. */
export interface SessionUser {
  readonly id: string;
  readonly email: string;
  readonly role: Role;
  /** For a device that logged in with its key. */
  readonly deviceSerial: string | undefined;
}

/** Logins and the refresh tokens that keep them alive. A refresh token works once; its reuse ends the session. */
export class Sessions {
  constructor(
    private readonly database: Database,
    private readonly issuer: AccessTokenIssuer,
    private readonly clock: Clock,
    private readonly lifetimes: SessionLifetimes,
    private readonly limits: LoginLimits,
    private readonly audit: AuditLog,
  ) {}

  /** What signs the tokens that come next. To be asked for before the transaction: within it, it would need a second connection. */
  tokenKey(): Promise<SigningKey> {
    return this.issuer.key();
  }

  /** Starts a session in the caller's transaction. @param key - From {@link tokenKey}. */
  async open(on: Queries, user: SessionUser, key: SigningKey): Promise<IssuedTokens> {
    const id = randomUUID();
    const nowMs = this.clock.nowMs();
    const endsAt = new Date(nowMs + this.lifetimes.sessionSeconds * 1000);
    await on
      .insertInto('sessions')
      .values({
        id,
        user_id: user.id,
        device_serial: user.deviceSerial ?? null,
        created_at: new Date(nowMs),
        ends_at: endsAt,
        revoked_at: null,
      })
      .execute();
    return this.issue(on, user, { id, endsAt }, key);
  }

  /**
   * Trades a refresh token for new tokens.
   *
   * @param token - Untrusted text.
   * @throws IdentityError `token.invalid` for every reason alike; `login.rate-limited`.
   */
  async refresh(token: string, address: string): Promise<IssuedTokens> {
    const key = await this.tokenKey();
    const issued = await this.database.transaction(async (on) => {
      const row = await on
        .selectFrom('refresh_tokens')
        .innerJoin('sessions', 'sessions.id', 'refresh_tokens.session_id')
        .innerJoin('users', 'users.id', 'sessions.user_id')
        .leftJoin('devices', 'devices.serial', 'sessions.device_serial')
        .select([
          'refresh_tokens.used_at',
          'refresh_tokens.expires_at',
          'sessions.id as session_id',
          'sessions.ends_at',
          'sessions.revoked_at',
          'sessions.device_serial',
          'devices.status as device_status',
          'users.id as user_id',
          'users.email',
          'users.role',
          'users.is_enabled',
        ])
        .where('refresh_tokens.token_hash', '=', tokenHash(token))
        .forUpdate(['refresh_tokens', 'sessions'])
        .executeTakeFirst();
      const now = new Date(this.clock.nowMs());
      if (!row || row.revoked_at) return undefined;
      if (row.used_at) {
        await this.revoke(on, row.session_id);
        await this.audit.record(on, {
          event: 'session.token-reused',
          actor: { id: row.user_id, address },
          subject: row.session_id,
        });
        return undefined;
      }
      const role = parseRole(row.role);
      const ended = row.expires_at <= now || row.ends_at <= now;
      const deviceGone = row.device_serial !== null && row.device_status !== 'enrolled';
      if (ended || !row.is_enabled || role === undefined || deviceGone) return undefined;
      await this.limits.refreshed(on, row.session_id);
      await on.updateTable('refresh_tokens').set({ used_at: now }).where('token_hash', '=', tokenHash(token)).execute();
      const user = { id: row.user_id, email: row.email, role, deviceSerial: row.device_serial ?? undefined };
      return this.issue(on, user, { id: row.session_id, endsAt: row.ends_at }, key);
    });
    if (issued) return issued;
    await this.limits.refreshFailed(address);
    throw new IdentityError('token.invalid', 'The refresh token is not valid any more: log in again.');
  }

  /** Ends one session: it can't be refreshed again. */
  async end(sessionId: string, actor: Actor): Promise<void> {
    await this.database.transaction(async (on) => {
      await this.revoke(on, sessionId);
      await this.audit.record(on, { event: 'session.ended', actor, subject: sessionId });
    });
  }

  /** Ends every session of somebody who asks for it. */
  async endAllOf(actor: Actor): Promise<void> {
    await this.database.transaction(async (on) => {
      await this.endAll(on, actor.id);
      await this.audit.record(on, { event: 'session.all-ended', actor, subject: actor.id });
    });
  }

  /** Ends every session of a user, in the caller's transaction. */
  async endAll(on: Queries, userId: string): Promise<void> {
    await on
      .updateTable('sessions')
      .set({ revoked_at: new Date(this.clock.nowMs()) })
      .where('user_id', '=', userId)
      .where('revoked_at', 'is', null)
      .execute();
  }

  /** Forgets sessions that have ended by their age, with their tokens. Ended ones before that stay, to notice a reuse. */
  async sweep(): Promise<void> {
    await this.database.queries.deleteFrom('sessions').where('ends_at', '<', new Date(this.clock.nowMs())).execute();
  }

  private async revoke(on: Queries, sessionId: string): Promise<void> {
    await on
      .updateTable('sessions')
      .set({ revoked_at: new Date(this.clock.nowMs()) })
      .where('id', '=', sessionId)
      .where('revoked_at', 'is', null)
      .execute();
  }

  private async issue(
    on: Queries,
    user: SessionUser,
    { id: sessionId, endsAt }: { readonly id: string; readonly endsAt: Date },
    key: SigningKey,
  ): Promise<IssuedTokens> {
    const refreshToken = toBase64Url(randomBytes(32));
    const nowMs = this.clock.nowMs();
    const expiresAtMs = Math.min(nowMs + this.lifetimes.refreshSeconds * 1000, endsAt.getTime());
    await on
      .insertInto('refresh_tokens')
      .values({
        token_hash: tokenHash(refreshToken),
        session_id: sessionId,
        expires_at: new Date(expiresAtMs),
        used_at: null,
      })
      .execute();
    const expiresInSeconds = Math.min(
      this.issuer.lifetimeSeconds,
      Math.floor(endsAt.getTime() / 1000) - Math.floor(nowMs / 1000),
    );
    const accessToken = await this.issuer.issue(
      {
        userId: user.id,
        email: user.email,
        role: user.role,
        sessionId,
        deviceSerial: user.deviceSerial,
      },
      expiresInSeconds,
      key,
    );
    return {
      accessToken,
      expiresInSeconds,
      refreshToken,
      refreshExpiresInSeconds: Math.floor((expiresAtMs - nowMs) / 1000),
    };
  }
}

/** Tokens are 256 random bits: a plain hash stores them. */
function tokenHash(token: string): Buffer {
  return hash('sha256', token, 'buffer');
}
