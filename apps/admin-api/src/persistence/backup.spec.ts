/* eslint-disable @typescript-eslint/no-unsafe-assignment, @typescript-eslint/no-unsafe-member-access -- answers are looked into as they come */
import { randomBytes } from 'node:crypto';
import { copyFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import {
  generateP256KeyPair,
  importSigningKey,
  importVerificationKey,
  type KeyDocument,
  type P256KeyPair,
  signKeyDocument,
  StatementKeys,
} from '@azaion/crypto';
import { toBase64Url } from '@azaion/kernel';
import { describeWith, type PostgresServer, startPostgres, type TempDirectory, tempDirectory } from '@azaion/testing';

import { readAdminConfig } from '../config.js';
import { maintenanceCommands } from '../maintenance.js';
import { DraftUpload } from '../testing/draft-upload.js';
import { type Account, type Answer, type StartedApi, startApi } from '../testing/started-api.js';
import { SKIPPED_SERIALS, SKIPPED_VERSIONS } from './after-restore.js';

const PATH = 'models/kept.bin';
const PG_RESTORE = ['--exit-on-error', '--single-transaction', '--no-owner', '--no-privileges'];

/** As docs/how-to/backup.md describes it: a dump of the database, and the KEK file kept elsewhere. */
describeWith('postgresql', 'a backup', () => {
  let postgres: PostgresServer;
  let directory: TempDirectory;
  let original: StartedApi;
  let restored: StartedApi;
  let refreshToken: string;
  let publisher: Account;
  let root: P256KeyPair;
  const said: string[] = [];

  const envOf = (database: string, kek: string): Record<string, string> => ({
    DATABASE_URL: postgres.url(database),
    ADMIN_KEK_FILE: join(directory.path, kek),
    ADMIN_DATA_DIR: join(directory.path, 'data'), // objects are not part of the dump
    STATEMENT_ROOT_KEY_FILE: join(directory.path, 'root.json'),
    STATEMENT_KEY_DOCUMENT_FILE: join(directory.path, 'keys.jws'),
  });
  const command = (words: string, database: string, kek: string): Promise<number> | undefined =>
    maintenanceCommands({ write: (text: string) => said.push(text) })
      .find((one) => one.words === words)
      ?.run(readAdminConfig(envOf(database, kek)));
  const signed = async (version: number, keys: KeyDocument['keys']): Promise<string> =>
    signKeyDocument(
      { version, expiresAt: Math.floor(Date.now() / 1000) + 3600, keys },
      await importSigningKey('root', root.privateJwk),
    );
  const newKey = async (api: StartedApi): Promise<KeyDocument['keys'][number]> => {
    const token = await tokenOf(api, api.administrator);
    return (await api.call('POST', '/statement-keys', { token, body: {} })).json as KeyDocument['keys'][number];
  };
  const publishDocument = async (api: StartedApi, document: string): Promise<number> => {
    const token = await tokenOf(api, api.administrator);
    return (await api.call('PUT', '/statement-keys/document', { token, body: { document } })).status;
  };
  /** What a device makes of the API's key document that has seen one of this version. */
  const documentFor = async (api: StartedApi, seenVersion: number): Promise<StatementKeys> => {
    const { text } = await api.call('GET', '/.well-known/azaion-statement-keys');
    const key = await importVerificationKey('root', root.publicJwk);
    return StatementKeys.verify(text, key, seenVersion, Math.floor(Date.now() / 1000));
  };
  const register = async (api: StartedApi): Promise<string> => {
    const token = await tokenOf(api, api.administrator);
    return (await api.call('POST', '/devices', { token, body: {} })).json.Serial as string;
  };
  const restore = async (database: string): Promise<void> => {
    await postgres.client('createdb', [database]);
    const dump = join(directory.path, 'dump');
    await postgres.client('pg_restore', [...PG_RESTORE, '-d', database, dump]);
  };
  const tokenOf = async (api: StartedApi, { email, password }: Pick<Account, 'email' | 'password'>): Promise<string> =>
    (await api.logIn(email, password)).json.access_token as string;
  const publish = async (api: StartedApi): Promise<number> => {
    const upload = await DraftUpload.open(api, { token: await tokenOf(api, publisher) }, PATH);
    return (await upload.commit(upload.draft(await upload.pack(randomBytes(1000))))).json.version as number;
  };
  const grant = async (api: StartedApi, version?: number): Promise<Answer> => {
    const recipientPublicKey = await freshPoint();
    return api.call('POST', `/sealed/${PATH}/grants`, {
      token: await tokenOf(api, api.administrator), // those of before the restore are dead
      body: {
        recipientPublicKey,
        nonce: toBase64Url(randomBytes(32)),
        ...(version === undefined ? {} : { version }),
      },
    });
  };
  const freshPoint = async (): Promise<string> => {
    const { x, y } = (await generateP256KeyPair()).publicJwk;
    const point = Buffer.concat([Buffer.from([4]), Buffer.from(x, 'base64url'), Buffer.from(y, 'base64url')]);
    return toBase64Url(point);
  };

  beforeAll(async () => {
    [postgres, directory] = await Promise.all([startPostgres(), tempDirectory()]);
    root = await generateP256KeyPair();
    await writeFile(join(directory.path, 'root.json'), JSON.stringify({ ...root.publicJwk, kid: 'root' }));
    await writeFile(join(directory.path, 'keys.jws'), ''); // signed once the key is known
    await postgres.client('createdb', ['original']);
    expect(await command('statement-key', 'original', 'kek')).toBe(0);
    const first = JSON.parse(said.splice(0).join('')) as KeyDocument['keys'][number];
    await writeFile(join(directory.path, 'keys.jws'), await signed(1, [first]));
    original = await startApi(envOf('original', 'kek'));
    expect(await register(original)).toBe('azj-0000');
    publisher = await original.account('ResourceUploader');
    expect(await publish(original)).toBe(1);
    refreshToken = (await original.logIn(publisher.email, publisher.password)).json.refresh_token as string;
    await postgres.client('pg_dump', ['--format=custom', '-f', join(directory.path, 'dump'), 'original']);
    await copyFile(join(directory.path, 'kek'), join(directory.path, 'kek-of-the-backup'));
    // What the dump does not know:
    expect(await publish(original)).toBe(2);
    expect(await register(original)).toBe('azj-0001');
    expect(await publishDocument(original, await signed(2, [await newKey(original)]))).toBe(200);
    expect(await documentFor(original, 2)).toBeDefined();

    await restore('restored');
    expect(await command('after-restore', 'restored', 'kek-of-the-backup')).toBe(0);
    restored = await startApi(envOf('restored', 'kek-of-the-backup'));
  });
  afterAll(async () => {
    await Promise.all([original.stop(), restored.stop()]);
    await postgres.stop();
    await directory.remove();
  });

  it('brings accounts and folders back, and versions that open with the KEK of then', async () => {
    expect((await restored.logIn(publisher.email, publisher.password)).status).toBe(200);
    const { status, json } = await grant(restored);
    expect(status).toBe(201);
    expect(json).toMatchObject({ statement: expect.any(String) });
    expect((await grant(restored, 2)).status).toBe(404);
  });

  it('gives no number again that was given after the dump', async () => {
    expect(await publish(restored)).toBe(1 + SKIPPED_VERSIONS + 1);
    expect(said.join('')).toMatch(
      /^1 resources go on 1000 version numbers further, new devices 1000 serials; \d+ sessions were ended\.\n$/,
    );
  });

  it('gives no serial again that a device may carry', async () => {
    expect(await register(restored)).toBe(`azj-${String(SKIPPED_SERIALS + 1).padStart(4, '0')}`);
  });

  it('has a key document that devices refuse which know a newer one, until a higher one is signed for a new key', async () => {
    await expect(documentFor(restored, 2)).rejects.toMatchObject({ code: 'key-document.rollback' });
    const fresh = await newKey(restored);
    expect(await publishDocument(restored, await signed(3, [fresh]))).toBe(200);
    expect((await documentFor(restored, 2)).has(fresh.kid)).toBe(true);
    const header = ((await grant(restored)).json.statement as string).split('.')[0] ?? '';
    expect(JSON.parse(Buffer.from(header, 'base64url').toString())).toMatchObject({ kid: fresh.kid });
  });

  it('ends the sessions of then, whatever became of them since', async () => {
    expect((await restored.call('POST', '/token/refresh', { body: { refreshToken } })).status).toBe(401);
    expect((await original.call('POST', '/token/refresh', { body: { refreshToken } })).status).toBe(200);
  });

  it('holds no key: neither the KEK nor a password is in the dump, and it is in no clear text', async () => {
    const plain = await postgres.client('pg_dump', ['original']);
    const kek = (await readFile(join(directory.path, 'kek'), 'utf8')).trim();
    for (const secret of [kek, Buffer.from(kek, 'base64url').toString('hex'), publisher.password, refreshToken])
      expect(plain.includes(secret)).toBe(false);
    expect(plain).toContain(publisher.id);
  });

  it('without its KEK is refused at the start, with what to do, and stays as it was', async () => {
    await restore('keyless');
    const secrets = (): Promise<string> =>
      postgres.client('psql', ['keyless', '-Atc', 'select name, wrapped from service_secrets order by name']);
    const before = await secrets();
    const refusal = await startApi(envOf('keyless', 'another-kek')).then(
      () => undefined,
      (error: unknown) => error,
    );
    expect(refusal).toMatchObject({ code: 'keys.kek-invalid', message: expect.stringContaining('KEK file') });
    expect(await secrets()).toBe(before);
    expect(before).toContain('device-password');
  });
});
