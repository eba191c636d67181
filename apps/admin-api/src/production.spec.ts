/* eslint-disable @typescript-eslint/no-unsafe-assignment, @typescript-eslint/no-unsafe-member-access -- answers are looked into as they come */
import { randomBytes } from 'node:crypto';
import { chmod, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import {
  generateP256KeyPair,
  importSigningKey,
  type PublicJwk,
  signKeyDocument,
  type SigningKey,
} from '@azaion/crypto';
import { toBase64Url } from '@azaion/kernel';

import { Database } from './persistence/database.js';
import { EmbeddedPostgres } from './persistence/embedded-postgres.js';
import { makeOlderUsers } from './testing/older-installation.js';
import { type StartedApi, startApi } from './testing/started-api.js';

/** An installation's PostgreSQL with an older release's accounts, and keys made elsewhere. */
describe('an Admin API in production, on an older installation’s database', () => {
  let directory: string;
  let postgres: EmbeddedPostgres;
  let root: SigningKey;
  let env: Record<string, string>;
  let started: StartedApi | undefined;

  const older = { email: 'older@example.com', password: 'an older password', role: 'Operator' };
  let olderId: string;
  const documentOf = (keys: readonly { kid: string; key: PublicJwk }[]): Promise<string> =>
    signKeyDocument(
      {
        version: 1,
        expiresAt: Math.floor(Date.now() / 1000) + 3600,
        keys: keys.map(({ kid, key }) => ({ kid, alg: 'ES256' as const, key })),
      },
      root,
    );

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'azaion-production-spec-'));
    await chmod(directory, 0o755); // root's database user must reach it
    postgres = await EmbeddedPostgres.start(join(directory, 'database'));
    const { host, user, password, database } = postgres.connection;
    const pair = await generateP256KeyPair();
    root = await importSigningKey('offline-root', pair.privateJwk);
    const unrelated = await generateP256KeyPair();
    await writeFile(join(directory, 'kek'), `${toBase64Url(randomBytes(32))}\n`, { mode: 0o600 });
    await writeFile(join(directory, 'keys.jws'), await documentOf([{ kid: 'unrelated', key: unrelated.publicJwk }]));
    await writeFile(join(directory, 'root.json'), JSON.stringify({ ...pair.publicJwk, kid: 'offline-root' }));
    env = {
      NODE_ENV: 'production',
      DATABASE_URL: `postgresql://${user}:${password}@/${database}?host=${encodeURIComponent(host)}`,
      ADMIN_KEK_FILE: join(directory, 'kek'),
      ADMIN_DATA_DIR: join(directory, 'not', 'made', 'yet'),
      STATEMENT_KEY_DOCUMENT_FILE: join(directory, 'keys.jws'),
      STATEMENT_ROOT_KEY_FILE: join(directory, 'root.json'),
    };
    const before = new Database(postgres.connection);
    [olderId = ''] = await makeOlderUsers(before.queries, [older]);
    await before.close();
  });
  afterAll(async () => {
    await started?.stop();
    await postgres.stop();
    await rm(directory, { recursive: true, force: true });
  });

  it('starts only with a document that names its key, and says what the offline root must sign', async () => {
    const refusal = await startApi(env).then(
      () => '',
      (error: unknown) => String(error),
    );
    const line = /holds (?<entry>\{.*\})\./.exec(refusal)?.groups?.['entry'] ?? 'null';
    const named = JSON.parse(line) as { kid: string; key: PublicJwk };
    await writeFile(join(directory, 'keys.jws'), `${await documentOf([named])}\n`);
    started = await startApi(env);
    expect((await started.call('GET', '/.well-known/azaion-statement-root')).status).toBe(404);
    expect((await started.call('GET', '/.well-known/azaion-statement-keys')).text.split('.')).toHaveLength(3);
    expect((await stat(join(directory, 'not', 'made', 'yet'))).isDirectory()).toBe(true);
  });

  it('adopts the accounts as they are, and makes no administrator beside them', async () => {
    const api = started!;
    const { json } = await api.logIn(older.email, older.password);
    const current = await api.call('GET', '/users/current', { token: json.access_token as string });
    expect(current.json).toMatchObject({ id: olderId, email: older.email, role: 'Operator' });
    const rows = await api.infrastructure.database.queries.selectFrom('users').selectAll().execute();
    expect(rows).toHaveLength(1);
    expect(rows[0]).toMatchObject({ id: olderId, hardware: 'CPU: …', hardware_hash: 'a hash' });
    expect(rows[0]?.password_hash).toMatch(/^\$argon2id\$/);
  });

  it('does not start with a key document of another root', async () => {
    const other = await generateP256KeyPair();
    const file = join(directory, 'other-root.json');
    await writeFile(file, JSON.stringify({ ...other.publicJwk, kid: 'offline-root' }));
    await expect(startApi({ ...env, STATEMENT_ROOT_KEY_FILE: file })).rejects.toMatchObject({
      code: 'key-document.invalid',
    });
  });

  it('does not start with a root that is not a public key', async () => {
    const file = join(directory, 'no-root.json');
    await writeFile(file, '{"kid":"x","kty":"EC"}');
    await expect(startApi({ ...env, STATEMENT_ROOT_KEY_FILE: file })).rejects.toThrow('STATEMENT_ROOT_KEY_FILE');
  });
});
