import type { PublicJwk } from '@azaion/crypto';
import { type DeviceAssertion, IdentityError, readDeviceAssertion, verifyDeviceAssertion } from '@azaion/identity';
import type { Clock } from '@azaion/kernel';
import { sql } from 'kysely';

import type { AuditLog } from '../audit/audit-log.js';
import { type Database, isUniqueViolation, type Queries } from '../persistence/database.js';
import { wrongCredentials } from '../tokens/log-in.js';
import type { LoginLimits } from '../tokens/login-limits.js';
import type { IssuedTokens, Sessions } from '../tokens/sessions.js';

/** A login from the address of the one before is recorded again after a day. */
const RECORDED_AGAIN_MS = 24 * 60 * 60_000;

/** A device and its account, as far as a login needs them. */
interface KnownDevice {
  readonly serial: string;
  readonly status: 'registered' | 'enrolled' | 'revoked';
  readonly signing_key: PublicJwk | null;
  readonly id: string;
  readonly email: string;
  readonly is_enabled: boolean;
}

/** F1: logs an enrolled device in with an assertion signed by its key (RFC 7523). */
export class LogInDevice {
  constructor(
    private readonly database: Database,
    private readonly limits: LoginLimits,
    private readonly sessions: Sessions,
    private readonly audit: AuditLog,
    private readonly clock: Clock,
    /** What `aud` must be. */
    private readonly audience: string,
  ) {}

  /**
   * @param assertion - Untrusted text.
   * @throws IdentityError `login.wrong-credentials` | `login.rate-limited` | `device.revoked`, the last only to who holds the device's key.
   */
  async run(assertion: string, address: string): Promise<IssuedTokens> {
    let device: KnownDevice | undefined;
    try {
      const { serial } = readDeviceAssertion(assertion, this.audience, this.clock);
      device = await this.find(serial);
      if (!device) throw wrongCredentials();
      return await this.open(this.verified(assertion, device), device, address);
    } catch (error) {
      const reused = isUniqueViolation(error); // the assertion was accepted before
      if (!reused && !(error instanceof IdentityError)) throw error;
      await this.limits.deviceFailed(address); // beyond it nothing is recorded either
      await this.audit.record(this.database.queries, {
        event: 'device.login-failed',
        actor: { id: device?.id ?? 'unknown', address },
        subject: device?.serial ?? 'unknown',
      });
      throw error instanceof IdentityError && error.code === 'device.revoked' ? error : wrongCredentials();
    }
  }

  private find(serial: string): Promise<KnownDevice | undefined> {
    return this.database.queries
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
      .where('devices.serial', '=', serial)
      .executeTakeFirst();
  }

  private verified(assertion: string, device: KnownDevice): DeviceAssertion {
    if (!device.signing_key) throw wrongCredentials();
    const claims = verifyDeviceAssertion(assertion, device.signing_key, this.audience, this.clock);
    if (device.status === 'revoked' || !device.is_enabled)
      throw new IdentityError('device.revoked', 'This device has been revoked: ask an administrator.');
    if (device.status !== 'enrolled') throw wrongCredentials();
    return claims;
  }

  private async open(
    { jti, rememberUntilSeconds, serial }: DeviceAssertion,
    device: KnownDevice,
    address: string,
  ): Promise<IssuedTokens> {
    const key = await this.sessions.tokenKey();
    return this.database.transaction(async (on) => {
      const now = new Date(this.clock.nowMs());
      await on.deleteFrom('used_assertions').where('expires_at', '<', now).execute();
      await on
        .insertInto('used_assertions')
        .values({
          jti: `${serial} ${jti}`,
          expires_at: new Date(rememberUntilSeconds * 1000),
        })
        .execute();
      // The row's lock: whoever revokes or resets the device ends the session that begins here, or forestalls it.
      const { numUpdatedRows } = await on
        .updateTable('devices')
        .set({ last_seen_at: now })
        .where('serial', '=', serial)
        .where('status', '=', 'enrolled')
        .where(sql<boolean>`signing_key = ${JSON.stringify(device.signing_key)}::jsonb`)
        .executeTakeFirstOrThrow();
      if (numUpdatedRows === 0n) throw wrongCredentials();
      await on.updateTable('users').set({ last_login: now }).where('id', '=', device.id).execute();
      if (await this.isWorthRecording(on, serial, address, now))
        await this.audit.record(on, {
          event: 'device.logged-in',
          actor: { id: device.id, address },
          subject: serial,
        });
      const user = { id: device.id, email: device.email, role: 'CompanionPC', deviceSerial: serial } as const;
      return this.sessions.open(on, user, key);
    });
  }

  /** A device logs in anew for each access token, and the log keeps everything for good: a login that only goes on with what was recorded is left out. */
  private async isWorthRecording(on: Queries, serial: string, address: string, now: Date): Promise<boolean> {
    const { numUpdatedRows } = await on
      .updateTable('devices')
      .set({ login_recorded_at: now, login_recorded_from: address })
      .where('serial', '=', serial)
      .where((device) =>
        device.or([
          device('login_recorded_at', 'is', null),
          device('login_recorded_at', '<=', new Date(now.getTime() - RECORDED_AGAIN_MS)),
          device('login_recorded_at', '<', device.ref('enrolled_at')),
          device('login_recorded_from', 'is distinct from', address),
        ]),
      )
      .executeTakeFirstOrThrow();
    return numUpdatedRows > 0n;
  }
}
