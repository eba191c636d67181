import { randomBytes, randomUUID } from 'node:crypto';

import { type Clock, Secret, toHex } from '@azaion/kernel';
import { sql } from 'kysely';

import { type Actor, type AuditLog } from '../audit/audit-log.js';
import { AdminError } from '../errors.js';
import { type Database, isUniqueViolation, type Queries } from '../persistence/database.js';
import { type PasswordHasher } from '../tokens/password-hasher.js';
import { type Sessions } from '../tokens/sessions.js';
import { type CreateUser } from '../users/create-user.js';

const PASSWORD_BYTES = 16;
const DIGITS = 4;

/** A device's account, with its password: shown once. */
export interface RegisteredDevice {
  readonly serial: string;
  readonly email: string;
  /** 32 hexadecimal digits. */
  readonly password: Secret<string>;
}

/** Creates a device and its user. */
export class RegisterDevice {
  constructor(
    private readonly database: Database,
    private readonly hasher: PasswordHasher,
    private readonly createUser: CreateUser,
    private readonly sessions: Sessions,
    private readonly audit: AuditLog,
    private readonly clock: Clock,
  ) {}

  /**
   * @param serial - `undefined` for the next number of the series `azj-0000`.
   * @param idempotencyKey - A repeat with the same key returns the same device with a fresh password; it must not name another serial.
   * @throws AdminError `device.exists`.
   */
  async run(serial: string | undefined, idempotencyKey: string | undefined, actor: Actor): Promise<RegisteredDevice> {
    const password = new Secret(toHex(randomBytes(PASSWORD_BYTES)));
    const passwordHash = await this.hasher.hashDevicePassword(password);
    const key = idempotencyKey === undefined ? null : `${actor.id} ${idempotencyKey}`;
    const device = await this.database.transaction(async (on) => {
      if (key !== null) await sql`select pg_advisory_xact_lock(hashtext(${`device ${key}`}))`.execute(on);
      return (
        (key === null ? undefined : await this.repeat(on, serial, key, passwordHash, actor)) ??
        (await this.create(on, serial, key, passwordHash, actor))
      );
    });
    return { ...device, password };
  }

  private async repeat(
    on: Queries,
    wanted: string | undefined,
    idempotencyKey: string,
    passwordHash: string,
    actor: Actor,
  ): Promise<{ serial: string; email: string } | undefined> {
    const device = await on
      .selectFrom('devices')
      .innerJoin('users', 'users.id', 'devices.user_id')
      .select(['devices.serial', 'users.id', 'users.email'])
      .where('devices.idempotency_key', '=', idempotencyKey)
      .executeTakeFirst();
    if (!device) return undefined;
    if (wanted !== undefined && wanted !== device.serial)
      throw new AdminError('device.exists', 'This Idempotency-Key made a device of another serial: take a new key.');
    await on.updateTable('users').set({ password_hash: passwordHash }).where('id', '=', device.id).execute();
    await this.sessions.endAll(on, device.id); // they began with the older password
    await this.audit.record(on, { event: 'device.password-renewed', actor, subject: device.serial });
    return { serial: device.serial, email: device.email };
  }

  private async create(
    on: Queries,
    wanted: string | undefined,
    idempotencyKey: string | null,
    passwordHash: string,
    actor: Actor,
  ): Promise<{ serial: string; email: string }> {
    const serial = wanted ?? (await this.nextSerial(on));
    const email = `${serial}@azaion.com`;
    try {
      const userId = await this.createUser.insert(on, { email, role: 'CompanionPC' }, passwordHash, actor);
      await on
        .insertInto('devices')
        .values({
          id: randomUUID(),
          serial,
          user_id: userId,
          status: 'registered',
          idempotency_key: idempotencyKey,
          created_at: new Date(this.clock.nowMs()),
        })
        .execute();
    } catch (error) {
      if (isUniqueViolation(error) || (error instanceof AdminError && error.code === 'user.exists'))
        throw new AdminError('device.exists', 'There is a device or an account of this name.');
      throw error;
    }
    await this.audit.record(on, { event: 'device.registered', actor, subject: serial });
    return { serial, email };
  }

  /** Numbers taken by hand are skipped; the sequence never gives one out twice. */
  private async nextSerial(on: Queries): Promise<string> {
    for (;;) {
      const { rows } = await sql<{ number: number }>`select nextval('device_numbers') as number`.execute(on);
      const serial = `azj-${String(rows[0]?.number ?? 0).padStart(DIGITS, '0')}`;
      const taken = await on
        .selectFrom('users')
        .select('id')
        .where('email', '=', `${serial}@azaion.com`)
        .executeTakeFirst();
      if (!taken) return serial;
    }
  }
}
