import { randomBytes, randomUUID } from 'node:crypto';

import { parseRole } from '@azaion/identity';
import { type Clock, Secret, toHex } from '@azaion/kernel';
import { sql } from 'kysely';

import type { Actor, AuditLog } from '../audit/audit-log.js';
import { AdminError } from '../errors.js';
import { type Database, isUniqueViolation, type Queries } from '../persistence/database.js';
import type { PasswordHasher } from '../tokens/password-hasher.js';
import type { Sessions } from '../tokens/sessions.js';
import type { CreateUser } from '../users/create-user.js';

const PASSWORD_BYTES = 16;
/** Of the addresses of devices' accounts. */
const EMAIL_DOMAIN = 'azaion.com';
const DIGITS = 4;

/** A device's account, with its password: shown once. */
export interface RegisteredDevice {
  readonly serial: string;
  readonly email: string;
  /** 32 hexadecimal digits. */
  readonly password: Secret<string>;
}

/** An account, and whether this call made it. */
interface DeviceAccount {
  readonly id: string;
  readonly email: string;
  readonly adopted: boolean;
}

/** Creates a device and its user, or gives a device to the user that an older system has left. */
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
   * @param serial - `undefined` for the next number of the series `azj-0000`. Where the older system has left an account of the role CompanionPC for
   *   this serial, and no device has it, it becomes the device's: its older password ends here.
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
    const account = await this.account(on, serial, passwordHash, actor);
    try {
      await on
        .insertInto('devices')
        .values({
          id: randomUUID(),
          serial,
          user_id: account.id,
          status: 'registered',
          idempotency_key: idempotencyKey,
          created_at: new Date(this.clock.nowMs()),
        })
        .execute();
    } catch (error) {
      if (isUniqueViolation(error)) throw taken();
      throw error;
    }
    const details = account.adopted ? { adoptedAccount: account.id } : undefined;
    await this.audit.record(on, { event: 'device.registered', actor, subject: serial, ...(details && { details }) });
    return { serial, email: account.email };
  }

  /** A fresh account with this password, or an adopted one that gets it. @throws AdminError `device.exists`. */
  private async account(on: Queries, serial: string, passwordHash: string, actor: Actor): Promise<DeviceAccount> {
    const email = emailOf(serial);
    const known = await on
      .selectFrom('users')
      .leftJoin('devices', 'devices.user_id', 'users.id')
      .select(['users.id', 'users.email', 'users.role', 'users.is_enabled', 'devices.id as device_id'])
      .where((where) => where(where.fn<string>('lower', ['users.email']), '=', email))
      .forUpdate('users')
      .executeTakeFirst();
    if (known === undefined) {
      try {
        const id = await this.createUser.insert(on, { email, role: 'CompanionPC' }, passwordHash, actor);
        return { id, email, adopted: false };
      } catch (error) {
        throw error instanceof AdminError && error.code === 'user.exists' ? taken() : error;
      }
    }
    if (known.device_id !== null || parseRole(known.role) !== 'CompanionPC') throw taken();
    if (!known.is_enabled)
      throw new AdminError(
        'device.exists',
        `The account ${known.email} is disabled: enable it first, or take another serial.`,
      );
    await on.updateTable('users').set({ password_hash: passwordHash }).where('id', '=', known.id).execute();
    await this.sessions.endAll(on, known.id); // they began with the older password
    return { id: known.id, email: known.email, adopted: true };
  }

  /** Numbers taken by hand are skipped; the sequence never gives one out twice. */
  private async nextSerial(on: Queries): Promise<string> {
    for (;;) {
      const { rows } = await sql<{ number: number }>`select nextval('device_numbers') as number`.execute(on);
      const serial = `azj-${String(rows[0]?.number ?? 0).padStart(DIGITS, '0')}`;
      const holder = await on
        .selectFrom('users')
        .select('id')
        .where((where) => where(where.fn<string>('lower', ['email']), '=', emailOf(serial)))
        .executeTakeFirst();
      if (!holder) return serial;
    }
  }
}

function emailOf(serial: string): string {
  return `${serial}@${EMAIL_DOMAIN}`;
}

function taken(): AdminError {
  return new AdminError('device.exists', 'There is a device or an account of this name.');
}
