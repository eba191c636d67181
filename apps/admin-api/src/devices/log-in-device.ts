import { importVerificationKey } from '@azaion/crypto';
import { IdentityError } from '@azaion/identity';
import { type Clock } from '@azaion/kernel';
import { compactVerify, decodeJwt, decodeProtectedHeader } from 'jose';

import { type AuditLog } from '../audit/audit-log.js';
import { type Database, isUniqueViolation } from '../persistence/database.js';
import { wrongCredentials } from '../tokens/log-in.js';
import { type IssuedTokens, type Sessions } from '../tokens/sessions.js';

const MAX_ASSERTION_CHARS = 4096;
const MAX_LIFE_SECONDS = 60;
const CLOCK_TOLERANCE_SECONDS = 30;

interface AssertionClaims {
  readonly serial: string;
  readonly jti: string;
  readonly expiresAtSeconds: number;
}

/** F1: logs an enrolled device in with an assertion signed by its key (RFC 7523). */
export class LogInDevice {
  constructor(
    private readonly database: Database,
    private readonly sessions: Sessions,
    private readonly audit: AuditLog,
    private readonly clock: Clock,
    /** What `aud` must be. */
    private readonly audience: string,
  ) {}

  /**
   * @param assertion - Untrusted text.
   * @throws IdentityError `login.wrong-credentials` | `device.revoked`, the latter only to who holds the device's key.
   */
  async run(assertion: string, address: string): Promise<IssuedTokens> {
    const claims = this.readClaims(assertion);
    const device = await this.database.queries
      .selectFrom('devices')
      .innerJoin('users', 'users.id', 'devices.user_id')
      .select([
        'devices.serial',
        'devices.status',
        'devices.signing_key',
        'users.id',
        'users.email',
        'users.is_enabled',
      ])
      .where('devices.serial', '=', claims.serial)
      .executeTakeFirst();
    if (!device?.signing_key) throw wrongCredentials();
    const key = await importVerificationKey(claims.serial, device.signing_key);
    await compactVerify(assertion, key.publicKey, { algorithms: ['ES256'] }).catch(() => {
      throw wrongCredentials();
    });
    if (device.status === 'revoked' || !device.is_enabled)
      throw new IdentityError('device.revoked', 'This device has been revoked: ask an administrator.');
    if (device.status !== 'enrolled') throw wrongCredentials();
    try {
      return await this.open(claims, device, address);
    } catch (error) {
      if (isUniqueViolation(error)) throw wrongCredentials(); // the assertion was used before
      throw error;
    }
  }

  private open(
    { jti, expiresAtSeconds, serial }: AssertionClaims,
    user: { readonly id: string; readonly email: string },
    address: string,
  ): Promise<IssuedTokens> {
    return this.database.transaction(async (on) => {
      const now = new Date(this.clock.nowMs());
      await on.deleteFrom('used_assertions').where('expires_at', '<', now).execute();
      await on
        .insertInto('used_assertions')
        .values({
          jti: `${serial} ${jti}`,
          expires_at: new Date((expiresAtSeconds + 2 * CLOCK_TOLERANCE_SECONDS) * 1000),
        })
        .execute();
      await on.updateTable('devices').set({ last_seen_at: now }).where('serial', '=', serial).execute();
      await on.updateTable('users').set({ last_login: now }).where('id', '=', user.id).execute();
      await this.audit.record(on, {
        event: 'device.logged-in',
        actor: { id: user.id, address },
        subject: serial,
      });
      return this.sessions.open(on, { ...user, role: 'CompanionPC', deviceSerial: serial });
    });
  }

  /** Header rules and claims of RFC 7523 §3; the signature is still unchecked. */
  private readClaims(assertion: string): AssertionClaims {
    if (assertion.length > MAX_ASSERTION_CHARS) throw wrongCredentials();
    let claims: Record<string, unknown>;
    try {
      const header = decodeProtectedHeader(assertion);
      const known = Object.keys(header).every((name) => name === 'alg' || name === 'typ');
      if (!known || header.alg !== 'ES256' || header.typ !== 'JWT') throw wrongCredentials();
      claims = decodeJwt(assertion);
    } catch {
      throw wrongCredentials();
    }
    const { iss, sub, aud, jti, iat, exp } = claims;
    const nowSeconds = this.clock.nowMs() / 1000;
    const acceptable =
      typeof iss === 'string' &&
      iss === sub &&
      aud === this.audience &&
      typeof jti === 'string' &&
      jti.length >= 1 &&
      jti.length <= 128 &&
      typeof iat === 'number' &&
      typeof exp === 'number' &&
      exp > iat &&
      exp - iat <= MAX_LIFE_SECONDS &&
      iat <= nowSeconds + CLOCK_TOLERANCE_SECONDS &&
      exp > nowSeconds - CLOCK_TOLERANCE_SECONDS;
    if (!acceptable) throw wrongCredentials();
    return { serial: iss, jti, expiresAtSeconds: exp };
  }
}
