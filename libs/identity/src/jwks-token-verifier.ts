import type { KeyObject } from 'node:crypto';

import type { Clock } from '@azaion/kernel';
import { decodeProtectedHeader } from 'jose';

import { ACCESS_TOKEN_TYPE } from './access-token.js';
import { IdentityError } from './errors.js';
import { es256Payload } from './es256.js';
import { type JwksKey, type JwksSource, parseJwks } from './jwks.js';
import { ROLES, type Role } from './roles.js';
import { type Caller, TokenVerifier } from './token-verifier.js';

/** Longest token looked at, in characters. */
export const MAX_TOKEN_CHARS = 8192;
/** How far the clocks of issuer and verifier may be apart. */
export const CLOCK_TOLERANCE_SECONDS = 5;
/** An unknown `kid` causes at most one fetch in this time, however many tokens carry one. */
export const JWKS_COOLDOWN_MS = 30_000;
/** A set older than this is fetched again in the background. */
export const JWKS_MAX_AGE_MS = 10 * 60_000;
/** After a failed fetch no other is tried for this time. */
export const JWKS_RETRY_MS = 2_000;

/** Which tokens a verifier accepts. */
export interface TokenExpectation {
  readonly issuer: string;
  readonly audience: string;
  /** {@link ACCESS_TOKEN_TYPE} unless given. */
  readonly type?: string;
}

/** Verifies tokens against a JWK set that is kept in memory and follows rotations; a copy of an earlier set serves until the first is fetched. Nothing in a token decides how it is verified (RFC 8725 §3). */
export class JwksTokenVerifier extends TokenVerifier {
  private keys: readonly JwksKey[] | undefined;
  private fetchedAtMs = -Infinity;
  private failure: { readonly error: unknown; readonly atMs: number } | undefined;
  private fetching: Promise<void> | undefined;

  constructor(
    private readonly source: JwksSource,
    private readonly clock: Clock,
    private readonly expected: TokenExpectation,
  ) {
    super();
  }

  override async keyFor(token: string): Promise<KeyObject> {
    const kid = this.keyIdOf(token);
    const known = this.find(kid);
    if (known !== undefined) {
      if (this.ageMs() > JWKS_MAX_AGE_MS) void this.refresh(JWKS_COOLDOWN_MS).catch(() => undefined);
      return known.publicKey;
    }
    let failure: { readonly error: unknown } | undefined;
    await this.refresh(JWKS_COOLDOWN_MS).catch((error: unknown) => (failure = { error }));
    const found = this.find(kid);
    if (found !== undefined) return found.publicKey;
    // Nobody knows then whether the key is new or forged: no reason to send somebody with a good token to the login.
    if (failure !== undefined) throw failure.error;
    throw invalid('The access token was signed with an unknown key.');
  }

  override async verify(token: string): Promise<Caller> {
    return this.callerOf(await this.signedClaims(token));
  }

  /**
   * When a token was issued, for whoever learns the time from it: signature, type, issuer and audience are verified, times are not.
   *
   * @param token - Untrusted text, the answer to a login made now.
   * @returns Seconds since 1970.
   * @throws As {@link verify}.
   */
  async issuedAt(token: string): Promise<number> {
    const claims = await this.signedClaims(token);
    this.assertMeant(claims);
    if (!isTime(claims['iat'])) throw invalid('The times of the access token are malformed.');
    return claims['iat'];
  }

  private async signedClaims(token: string): Promise<Record<string, unknown>> {
    const key = await this.keyFor(token);
    return parseClaims(await es256Payload(token, key));
  }

  private assertMeant({ iss, aud }: Record<string, unknown>): void {
    if (iss !== this.expected.issuer) throw invalid('The access token comes from another issuer.');
    if (aud !== this.expected.audience && !(Array.isArray(aud) && aud.includes(this.expected.audience)))
      throw invalid('The access token is meant for another audience.');
  }

  /** RFC 8725 §3.1, §3.8, §3.10, §3.11: one algorithm, one type, a key chosen by id from our own set, and no header that could say otherwise. */
  private keyIdOf(token: string): string {
    if (token.length > MAX_TOKEN_CHARS) throw invalid('The access token is too long.');
    let header: Record<string, unknown>;
    try {
      header = decodeProtectedHeader(token);
    } catch (cause) {
      throw invalid('The access token is malformed.', cause);
    }
    const onlyKnownMembers = Object.keys(header).every((name) => name === 'alg' || name === 'kid' || name === 'typ');
    const kid = header['kid'];
    if (
      !onlyKnownMembers ||
      header['alg'] !== 'ES256' ||
      header['typ'] !== (this.expected.type ?? ACCESS_TOKEN_TYPE) ||
      typeof kid !== 'string'
    )
      throw invalid('The header of the access token is not acceptable.');
    return kid;
  }

  private callerOf(claims: Record<string, unknown>): Caller {
    const { sub, jti, sid, exp, nbf, iat, unique_name: email, role, device } = claims;
    this.assertMeant(claims);
    if (!isText(sub) || !isText(jti) || !isText(sid) || !isText(email) || !isRole(role))
      throw invalid('The access token lacks a claim.');
    if (device !== undefined && !isText(device)) throw invalid('The access token lacks a claim.');
    if (!isTime(exp) || !isTime(iat) || (nbf !== undefined && !isTime(nbf)))
      throw invalid('The times of the access token are malformed.');
    const nowSeconds = this.clock.nowMs() / 1000;
    if (Math.max(iat, nbf ?? 0) > nowSeconds + CLOCK_TOLERANCE_SECONDS)
      throw invalid('The access token is not valid yet.');
    if (exp + CLOCK_TOLERANCE_SECONDS <= nowSeconds)
      throw new IdentityError('token.expired', 'The access token has expired: log in again.');
    return { userId: sub, email, role, sessionId: sid, tokenId: jti, expiresAt: exp, deviceSerial: device };
  }

  private find(kid: string): JwksKey | undefined {
    return this.keys?.find((key) => key.kid === kid);
  }

  private ageMs(): number {
    return this.clock.monotonicMs() - this.fetchedAtMs;
  }

  /** Fetches the set unless that was done or tried just now; calls at the same time share one fetch. */
  private async refresh(cooldownMs: number): Promise<void> {
    if (this.fetching !== undefined) return this.fetching;
    if (this.keys !== undefined && this.ageMs() < cooldownMs) return;
    if (this.failure !== undefined && this.clock.monotonicMs() - this.failure.atMs < this.retryAfterMs(cooldownMs))
      throw this.failure.error;
    this.fetching = this.fetch().finally(() => (this.fetching = undefined));
    await this.fetching;
  }

  /** With keys at hand there is no hurry; without any, nobody can be let in. */
  private retryAfterMs(cooldownMs: number): number {
    return this.keys === undefined ? JWKS_RETRY_MS : cooldownMs;
  }

  private async fetch(): Promise<void> {
    try {
      const keys = parseJwks(await this.source.currentKeys());
      if (keys === undefined) throw invalid('The keys that sign access tokens could not be read.');
      this.keys = keys;
      this.fetchedAtMs = this.clock.monotonicMs();
      this.failure = undefined;
    } catch (error) {
      this.keys ??= parseJwks(await this.source.keptKeys());
      this.failure = { error, atMs: this.clock.monotonicMs() };
      throw error;
    }
  }
}

function parseClaims(payload: Uint8Array): Record<string, unknown> {
  try {
    const claims = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(payload)) as unknown;
    if (typeof claims === 'object' && claims !== null && !Array.isArray(claims))
      return claims as Record<string, unknown>;
  } catch (cause) {
    throw invalid('The claims of the access token are malformed.', cause);
  }
  throw invalid('The claims of the access token are malformed.');
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== '' && value.length <= 512;
}

function isTime(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0;
}

function isRole(value: unknown): value is Role {
  return typeof value === 'string' && Object.hasOwn(ROLES, value);
}

function invalid(message: string, cause?: unknown): IdentityError {
  return new IdentityError('token.invalid', message, { cause });
}
