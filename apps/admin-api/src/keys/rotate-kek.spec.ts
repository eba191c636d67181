import { randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';

import { addKeyEncryptionKey, FileKeyVault } from '@azaion/adapters/key-file';
import { generateP256KeyPair, type KeyPurpose, KeyVault } from '@azaion/crypto';
import { SystemClock, toBase64Url } from '@azaion/kernel';
import { sql } from 'kysely';

import { AuditLog } from '../audit/audit-log.js';
import { AdminConfig } from '../config.js';
import { kekFileOf } from '../infrastructure.js';
import { maintenanceCommands } from '../maintenance.js';
import { SERVICE_ROLE } from '../persistence/service-role.js';
import { TestDevice } from '../testing/device.js';
import { DraftUpload } from '../testing/draft-upload.js';
import { type Account, startApi, type StartedApi } from '../testing/started-api.js';
import { RotateKek } from './rotate-kek.js';

/** A vault whose process dies before one of its wraps. */
class DyingVault extends KeyVault {
  constructor(
    private readonly vault: KeyVault,
    private wrapsLeft: number,
  ) {
    super();
  }

  override wrap(purpose: KeyPurpose, rowId: string, secret: Uint8Array): Promise<Uint8Array> {
    this.wrapsLeft -= 1;
    return this.wrapsLeft < 0 ? Promise.reject(new Error('killed')) : this.vault.wrap(purpose, rowId, secret);
  }

  override unwrap(purpose: KeyPurpose, rowId: string, wrapped: Uint8Array): Promise<Uint8Array> {
    return this.vault.unwrap(purpose, rowId, wrapped);
  }

  override macKey(purpose: 'url-signing'): Promise<Uint8Array> {
    return this.vault.macKey(purpose);
  }

  override prefixes(): Promise<readonly Uint8Array[]> {
    return this.vault.prefixes();
  }
}

describe('rotation of the key-encryption key', () => {
  let api: StartedApi;
  let kekFile: string;
  let publisher: Account;
  let reader: Account;
  let device: TestDevice;

  beforeAll(async () => {
    api = await startApi();
    kekFile = kekFileOf(api.app.get(AdminConfig));
    [publisher, reader] = [await api.account('ResourceUploader'), await api.account('Operator')];
    device = await TestDevice.enrolled(api);
    await publish(publisher, 'models/rotated.bin');
    await publish({ token: await device.token() }, 'engines/of-the-device.bin');
    await (await TestDevice.register(api)).challenge();
  });
  afterAll(() => api.stop());

  const publish = async (account: Pick<Account, 'token'>, path: string): Promise<number> => {
    const upload = await DraftUpload.open(api, account, path);
    const pack = await upload.pack(randomBytes(1000));
    return (await upload.commit(upload.draft(pack))).status;
  };
  const grant = async (): Promise<number> => {
    const body = { recipientPublicKey: await freshPoint(), nonce: toBase64Url(randomBytes(32)) };
    return (await api.call('POST', '/sealed/models/rotated.bin/grants', { token: reader.token, body })).status;
  };
  const rotation = (vault: KeyVault = api.infrastructure.vault): RotateKek =>
    new RotateKek(api.infrastructure.database, vault, new AuditLog(new SystemClock()));
  const queries = () => api.infrastructure.database.queries;
  /** The service's role may not change the schema; the login of the embedded database may. */
  const asOwner = (...statements: readonly string[]): Promise<void> =>
    api.infrastructure.database.transaction(async (on) => {
      await sql`set local role none`.execute(on);
      for (const statement of statements) await sql.raw(statement).execute(on);
    });
  /** Values that begin like the given key's, in every binary column there is. */
  const named = async (prefix: Uint8Array): Promise<string[]> => {
    const { rows: columns } = await sql<{ table: string; column: string }>`
      select table_name as table, column_name as column from information_schema.columns
      where table_schema = 'public' and data_type = 'bytea'`.execute(queries());
    const found: string[] = [];
    for (const { table, column } of columns) {
      const { rows } = await sql<{ value: Buffer | null }>`
        select ${sql.ref(column)} as value from ${sql.table(table)}`.execute(queries());
      for (const { value } of rows)
        if (value?.subarray(0, prefix.length).equals(prefix)) found.push(`${table}.${column}`);
    }
    return found.sort();
  };
  const secrets = async (count: number): Promise<void> => {
    for (let made = 0; made < count; made += 1) {
      const name = `of a test ${randomBytes(8).toString('hex')}`;
      const wrapped = await api.infrastructure.vault.wrap('service', name, randomBytes(32));
      await queries()
        .insertInto('service_secrets')
        .values({ name: name as 'device-password', wrapped: Buffer.from(wrapped) })
        .execute();
    }
  };

  it('does nothing and says so where there is one key', async () => {
    expect(await rotation().run()).toEqual({ rewrapped: 0, left: 0 });
  });

  it('wraps every row anew, goes on where it was killed, and leaves nothing under the earlier key', async () => {
    const [earlier = new Uint8Array()] = await api.infrastructure.vault.prefixes();
    const before = await named(earlier);
    // Every kind of wrapped value is there: an empty table would prove nothing.
    expect([...new Set(before)]).toEqual([
      'dedup_domains.wrapped_key',
      'device_challenges.wrapped_ephemeral',
      'folders.wrapped_device_root',
      'service_secrets.wrapped',
      'signing_keys.wrapped_private',
      'versions.wrapped_recipe_key',
    ]);
    await addKeyEncryptionKey(kekFile);
    expect(await rotation().left()).toBe(before.length);

    // Each run dies in another batch; what was done before stays done.
    let left = before.length;
    for (const wraps of [0, 3, 6]) {
      await expect(rotation(new DyingVault(api.infrastructure.vault, wraps)).run()).rejects.toThrow('killed');
      const now = await rotation().left();
      expect(now).toBeLessThanOrEqual(left);
      left = now;
    }
    expect(left).toBeGreaterThan(0);
    expect(left).toBeLessThan(before.length);
    expect(await rotation().run()).toEqual({ rewrapped: left, left: 0 });
    expect(await named(earlier)).toEqual([]);
  });

  it('leaves a database that opens with the new key alone', async () => {
    const [current = ''] = (await readFile(kekFile, 'utf8')).split('\n');
    await writeFile(kekFile, `${current}\n`);
    expect(await api.infrastructure.vault.prefixes()).toHaveLength(1);
    expect(await grant()).toBe(201);
    expect(await publish(publisher, 'models/after.bin')).toBe(201);
    expect(await publish({ token: await device.token() }, 'engines/of-the-device.bin')).toBe(201);
    expect((await api.logIn(reader.email, reader.password)).status).toBe(200);
  });

  it('works in batches beside a service that gives grants and publishes meanwhile', async () => {
    await secrets(230);
    await addKeyEncryptionKey(kekFile);
    const [rotated, ...statuses] = await Promise.all([
      rotation().run(),
      ...Array.from({ length: 8 }, () => grant()),
      ...Array.from({ length: 4 }, (_, turn) => publish(publisher, `models/meanwhile-${turn}.bin`)),
    ]);
    expect(new Set(statuses)).toEqual(new Set([201]));
    expect(rotated.rewrapped).toBeGreaterThan(230);
    expect(rotated.left).toBe(0);
    expect(await rotation().left()).toBe(0);
  });

  it('comes back to rows that somebody holds', async () => {
    await addKeyEncryptionKey(kekFile);
    let release = (): void => undefined;
    const released = new Promise<void>((resolve) => (release = resolve));
    let held = (): void => undefined;
    const isHeld = new Promise<void>((resolve) => (held = resolve));
    const holder = api.infrastructure.database.transaction(async (on) => {
      await on.selectFrom('folders').select('id').forUpdate().execute();
      held();
      await released;
    });
    await isHeld;
    const folders = new RotateKek(
      api.infrastructure.database,
      new SignalVault(api.infrastructure.vault, release),
      new AuditLog(new SystemClock()),
    );
    const result = await folders.run(1);
    await holder;
    expect(result.left).toBe(0);
  });

  it('counts a value in a column that nobody thought of, and never calls itself complete', async () => {
    const vault = api.infrastructure.vault;
    await asOwner(
      'create table forgotten (id integer primary key, note bytea)',
      `grant all on forgotten to ${SERVICE_ROLE}`,
    );
    const wrapped = Buffer.from(await vault.wrap('service', 'x', randomBytes(32)));
    await sql`insert into forgotten values (1, ${wrapped})`.execute(queries());
    await addKeyEncryptionKey(kekFile);
    try {
      await rotation().left();
      const counted = new RotateKek(
        api.infrastructure.database,
        await FileKeyVault.open(kekFile, { createIfMissing: false }),
        new AuditLog(new SystemClock()),
      );
      expect(await counted.left()).toBeGreaterThan(0);
      await asOwner('alter table forgotten rename column note to wrapped_note');
      await expect(rotation().run()).rejects.toThrow('forgotten.wrapped_note');
    } finally {
      await asOwner('drop table forgotten');
    }
    expect((await rotation().run()).left).toBe(0);
  });

  it('names the row that opens under no key', async () => {
    await addKeyEncryptionKey(kekFile);
    const name = 'of nobody';
    const foreign = await (
      await FileKeyVault.open(`${kekFile}-other`, { createIfMissing: true })
    ).wrap('service', name, randomBytes(32));
    await queries()
      .insertInto('service_secrets')
      .values({ name: name as 'device-password', wrapped: Buffer.from(foreign) })
      .execute();
    await expect(rotation().run()).rejects.toThrow('service_secrets.wrapped, row of nobody');
    await queries()
      .deleteFrom('service_secrets')
      .where('name', '=', name as 'device-password')
      .execute();
    expect((await rotation().run()).left).toBe(0);
  });

  it('is a command beside the running service: adds the key, rotates, counts, and records it', async () => {
    const lines: string[] = [];
    const run = (...words: string[]): Promise<number> => {
      const out = { write: (text: string) => lines.push(text) };
      const command = maintenanceCommands(out).find((one) => one.words === words.join(' '));
      if (command === undefined) throw new Error('no such command');
      return command.run(api.app.get(AdminConfig));
    };
    const before = (await api.infrastructure.vault.prefixes()).length;
    expect(await run('rotate-kek', '--add-key')).toBe(0);
    expect(await api.infrastructure.vault.prefixes()).toHaveLength(before + 1);
    expect(await run('rotate-kek', '--count')).toBe(0);
    expect(lines.join('')).toMatch(/[1-9][0-9]* stored keys were wrapped[^]*0 are left under earlier keys/);
    // The embedded database was not stopped behind the service's back.
    expect(await grant()).toBe(201);
    const recorded = await queries()
      .selectFrom('audit_events')
      .select('details')
      .where('event', '=', 'kek.rotated')
      .execute();
    expect(recorded.length).toBeGreaterThan(0);

    await addKeyEncryptionKey(kekFile);
    lines.length = 0;
    expect(await run('rotate-kek', '--count')).toBe(1);
    expect(lines.join('')).toMatch(/[1-9][0-9]* are left/);
  });
});

/** Tells when the first row was wrapped anew. */
class SignalVault extends DyingVault {
  constructor(
    vault: KeyVault,
    private readonly signal: () => void,
  ) {
    super(vault, Infinity);
  }

  override async wrap(purpose: KeyPurpose, rowId: string, secret: Uint8Array): Promise<Uint8Array> {
    const wrapped = await super.wrap(purpose, rowId, secret);
    this.signal();
    return wrapped;
  }
}

async function freshPoint(): Promise<string> {
  return toBase64Url((await generateP256KeyPair()).point);
}
