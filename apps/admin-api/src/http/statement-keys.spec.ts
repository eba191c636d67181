/* eslint-disable @typescript-eslint/no-unsafe-argument, @typescript-eslint/no-unsafe-assignment, @typescript-eslint/no-unsafe-call, @typescript-eslint/no-unsafe-member-access, @typescript-eslint/no-unsafe-return -- answers are looked into as they come */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { HttpPackSource } from '@azaion/adapters/http-packs';
import { ApiClient, fixedToken, HttpGrantApi, HttpWellKnown } from '@azaion/adapters/resource-api';
import { FileStatementTrust } from '@azaion/adapters/trust-store';
import {
  generateP256KeyPair,
  importSigningKey,
  importVerificationKey,
  type KeyDocument,
  type P256KeyPair,
  readStatement,
  signKeyDocument,
  type SigningKey,
  signStatement,
  verifyStatement,
} from '@azaion/crypto';
import { ManualClock } from '@azaion/kernel';
import { FetchResource, PackReader, type StatementTrust } from '@azaion/split-resource';
import { InMemoryPackStore, InMemorySegmentStore, softwareRecipient } from '@azaion/split-resource/testing';

import { maintenanceCommands } from '../maintenance.js';
import { readAdminConfig } from '../config.js';
import { EmbeddedPostgres } from '../persistence/embedded-postgres.js';
import { TestDevice } from '../testing/device.js';
import { DraftUpload } from '../testing/draft-upload.js';
import { type Account, startApi, type StartedApi } from '../testing/started-api.js';

type NamedKey = KeyDocument['keys'][number];

describe('statement keys under an offline root', () => {
  let directory: string;
  let postgres: EmbeddedPostgres;
  let env: Record<string, string>;
  let rootPair: P256KeyPair;
  let root: SigningKey;
  let api: StartedApi;
  let reader: Account;
  let client: ApiClient;
  let source: HttpPackSource;
  let clock: ManualClock;
  const content = randomBytes(5000);

  const signed = (version: number, keys: readonly NamedKey[], by = root, livesSeconds = 3600): Promise<string> =>
    signKeyDocument({ version, expiresAt: Math.floor(Date.now() / 1000) + livesSeconds, keys }, by);
  const put = (document: string, token = api.administrator.token) =>
    api.call('PUT', '/statement-keys/document', { token, body: { document } });
  const list = async () => (await api.call('GET', '/statement-keys', { token: api.administrator.token })).json;
  const make = async (): Promise<NamedKey> =>
    (await api.call('POST', '/statement-keys', { token: api.administrator.token, body: {} })).json;
  const inUse = async (): Promise<NamedKey> => {
    const { kid, alg, key } = (await list()).keys.find(({ signs }: { signs: boolean }) => signs);
    return { kid, alg, key };
  };
  const device = (name: string): Promise<FileStatementTrust> =>
    FileStatementTrust.open({
      dataDirectory: join(directory, name),
      root: { kid: root.kid, key: rootPair.publicJwk },
      trustOnFirstUse: false,
      documents: new HttpWellKnown(client),
      clock,
      warn: () => undefined,
    });
  const fetched = async (trust: StatementTrust, resource = 'models/signed.bin') => {
    const [folder = '', name = ''] = resource.split('/');
    const opened = await new FetchResource({
      api: new HttpGrantApi(client, fixedToken(reader.token)),
      trust,
      reader: new PackReader(new InMemoryPackStore(), [source]),
      segments: new InMemorySegmentStore(),
      clock,
    }).run({ resource: { folder, name }, recipient: softwareRecipient() });
    const parts: Buffer[] = [];
    for await (const part of opened.read()) parts.push(part);
    return Buffer.concat(parts);
  };
  const publish = async (path: string): Promise<void> => {
    const upload = await DraftUpload.open(api, api.administrator, path);
    expect((await upload.commit(upload.draft(await upload.pack(content)))).status).toBe(201);
  };
  const storedStatement = async (): Promise<string> => {
    const { statement } = await api.infrastructure.database.queries
      .selectFrom('versions')
      .innerJoin('resources', 'resources.id', 'versions.resource_id')
      .select('statement')
      .where('resources.name', '=', 'signed.bin')
      .executeTakeFirstOrThrow();
    return statement;
  };

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'statement-keys-'));
    postgres = await EmbeddedPostgres.start(
      join(tmpdir(), `statement-keys-database-${randomBytes(6).toString('hex')}`),
    );
    const { host, user, password, database } = postgres.connection;
    rootPair = await generateP256KeyPair();
    root = await importSigningKey('offline-root', rootPair.privateJwk);
    await writeFile(join(directory, 'root.json'), JSON.stringify({ ...rootPair.publicJwk, kid: root.kid }));
    env = {
      DATABASE_URL: `postgresql://${user}:${password}@/${database}?host=${encodeURIComponent(host)}`,
      STATEMENT_ROOT_KEY_FILE: join(directory, 'root.json'),
      ADMIN_KEK_FILE: join(directory, 'kek'),
      ADMIN_DATA_DIR: join(directory, 'data'),
    };
    clock = new ManualClock(Date.now());
  });
  afterAll(async () => {
    await source.close();
    await client.close();
    await api.stop();
    await postgres.stop();
    await rm(directory, { recursive: true, force: true });
  });

  it('says before the first start what the root must sign, and starts with the first document', async () => {
    await expect(startApi(env)).rejects.toThrow('There is no key document yet');
    let line = '';
    const commands = maintenanceCommands({ write: (text: string) => (line += text) });
    expect(await commands.find(({ words }) => words === 'statement-key')!.run(readAdminConfig(env))).toBe(0);
    await writeFile(join(directory, 'keys.jws'), await signed(1, [JSON.parse(line)]));
    api = await startApi({ ...env, STATEMENT_KEY_DOCUMENT_FILE: join(directory, 'keys.jws') });
    client = new ApiClient({ baseUrl: api.url });
    source = new HttpPackSource();
    reader = await api.account('Operator');
    expect(await list()).toMatchObject({ documentVersion: 1, keys: [{ ...JSON.parse(line), signs: true }] });
    await publish('models/signed.bin');
    expect(await fetched(await device('first'))).toEqual(content);
  });

  it('refuses documents of another root, expired, not newer, or that name none of its keys', async () => {
    const current = await inUse();
    const other = await importSigningKey('offline-root', (await generateP256KeyPair()).privateJwk);
    const foreign = await generateP256KeyPair();
    const refusals = [
      [await signed(9, [current], other), 422, 'statement-key.document-refused'],
      [await signed(9, [current], root, -1), 422, 'statement-key.document-refused'],
      [await signed(1, [current]), 409, 'statement-key.document-older'],
      [await signed(9, [{ kid: 'x', alg: 'ES256', key: foreign.publicJwk }]), 422, 'statement-key.not-named'],
      ['a.b', 400, 'request.invalid'],
    ] as const;
    for (const [document, status, code] of refusals) {
      const answer = await put(document);
      expect([answer.status, answer.json.code]).toEqual([status, code]);
    }
    expect((await list()).documentVersion).toBe(1);
    for (const token of [undefined, reader.token])
      expect((await put(await signed(9, [current]), token ?? '')).status).toBe(token === undefined ? 401 : 403);
  });

  it('rotates: a new key signs once a document names it, and what the old one signed stays good', async () => {
    const old = await inUse();
    const trust = await device('rotating');
    await fetched(trust);
    const next = await make();
    expect(await inUse()).toEqual(old);
    const { status, json } = await put(await signed(2, [old, next]));
    expect([status, json.signedAnew]).toEqual([200, 0]);
    expect(await inUse()).toEqual(next);
    await publish('models/by-the-next.bin');
    clock.advance(3000); // a device looks at the key document every two seconds at most
    // A device that has seen version 1 only learns of the new key when it meets it.
    expect(await fetched(trust, 'models/by-the-next.bin')).toEqual(content);
    expect(await fetched(trust)).toEqual(content);
    expect((await trust.keys()).version).toBe(2);
  });

  it('recovers from a stolen key: a document without it ends what the thief can sign', async () => {
    const [stolen, next] = [await inUse(), await make()];
    const row = await api.infrastructure.database.queries
      .selectFrom('signing_keys')
      .selectAll()
      .where('kid', '=', stolen.kid)
      .executeTakeFirstOrThrow();
    const opened = await api.infrastructure.vault.unwrap('statement-signing', row.kid, row.wrapped_private);
    const thief = await importSigningKey(stolen.kid, JSON.parse(new TextDecoder().decode(opened)));
    const [seen, late] = [await device('has seen it'), await device('comes late')];
    await fetched(seen);
    const before = await storedStatement();
    const forged = await signStatement(
      { ...(await verifyStatement(before, await seen.keys())), rootHash: 'f'.repeat(64), version: 99 },
      thief,
    );
    await expect(verifyStatement(forged, await seen.keys())).resolves.toMatchObject({ version: 99 });

    const { status, json } = await put(await signed(3, [next]));
    expect(status).toBe(200);
    expect(json.signedAnew).toBe(2);

    clock.advance(3000);
    const now = await seen.keys(true);
    expect(now.version).toBe(3);
    for (const statement of [forged, before])
      await expect(verifyStatement(statement, now)).rejects.toMatchObject({ code: 'statement.key-unknown' });
    // The same facts under the new key: nothing had to be published again.
    const after = await storedStatement();
    expect(await verifyStatement(after, now)).toEqual(
      await readStatement(before, await verificationKeyOfFirst(before)),
    );
    for (const trust of [seen, late]) {
      expect(await fetched(trust)).toEqual(content);
      expect(await fetched(trust, 'models/by-the-next.bin')).toEqual(content);
    }
    const events = await api.infrastructure.database.queries.selectFrom('audit_events').select('event').execute();
    expect(events.map(({ event }) => event)).toEqual(
      expect.arrayContaining(['statement-key.made', 'key-document.accepted', 'statements.signed-anew']),
    );
  });

  /** The public half of whichever of the API's keys has signed. */
  const verificationKeyOfFirst = async (jws: string) => {
    const { kid } = JSON.parse(Buffer.from(jws.split('.')[0] ?? '', 'base64url').toString());
    const { keys } = await list();
    const { key } = keys.find((each: NamedKey) => each.kid === kid);
    return importVerificationKey(kid, key);
  };

  it('signs a statement anew for whoever comes first when the run over all was cut off', async () => {
    const next = await make();
    const before = await storedStatement();
    const current = await inUse();
    expect((await put(await signed(4, [current, next]))).json.signedAnew).toBe(0);
    // What a run that was cut off leaves: the document in force, the statement not signed anew.
    expect((await put(await signed(5, [next]))).json.signedAnew).toBeGreaterThan(0);
    await api.infrastructure.database.queries
      .updateTable('versions')
      .set({ statement: before })
      .where('statement', '=', await storedStatement())
      .execute();
    expect(await fetched(await device('comes first'))).toEqual(content);
    expect(await storedStatement()).not.toBe(before);
  });

  it('lets a device’s version be promoted whose statement such a run has not come to', async () => {
    const builder = await TestDevice.enrolled(api);
    const upload = await DraftUpload.open(api, { token: await builder.token() }, 'engines/built.engine');
    expect((await upload.commit(upload.draft(await upload.pack(content)))).status).toBe(201);
    const { queries } = api.infrastructure.database;
    const built = await queries
      .selectFrom('versions')
      .select(['resource_id', 'statement'])
      .where('scope', '=', `device:${builder.serial}`)
      .executeTakeFirstOrThrow();
    const next = await make();
    expect((await put(await signed(6, [next]))).status).toBe(200);
    await queries
      .updateTable('versions')
      .set({ statement: built.statement })
      .where('resource_id', '=', built.resource_id)
      .execute();
    const promoted = await api.call('POST', '/sealed/engines/built.engine/versions/1/promote', {
      token: api.administrator.token,
      body: {},
    });
    expect(promoted.status).toBe(204);
    expect(await fetched(await device('reads what was promoted'), 'engines/built.engine')).toEqual(content);
  });

  it('gives no new signature to a statement that says something else than its row', async () => {
    const good = await storedStatement();
    await api.infrastructure.database.queries
      .updateTable('versions')
      .set({ root_hash: 'e'.repeat(64) })
      .where('statement', '=', good)
      .execute();
    const next = await make();
    const { status } = await put(await signed(7, [next]));
    expect(status).toBe(200);
    expect(await storedStatement()).toBe(good);
    await expect(fetched(await device('is refused'))).rejects.toMatchObject({ code: 'api.unexpected' });
  });

  it('keeps the newest document over a restart, also with an older one in the configuration', async () => {
    await api.app.close();
    api = await startApi({ ...env, STATEMENT_KEY_DOCUMENT_FILE: join(directory, 'keys.jws') });
    expect((await list()).documentVersion).toBe(7);
  });
});

describe('statement keys of a development API', () => {
  let api: StartedApi;
  beforeAll(async () => {
    api = await startApi();
  });
  afterAll(() => api.stop());

  it('are named by its own root at once, and it takes no documents', async () => {
    const token = api.administrator.token;
    const { json: made } = await api.call('POST', '/statement-keys', { token, body: {} });
    const { json } = await api.call('GET', '/statement-keys', { token });
    expect(json.documentVersion).toBe(2);
    expect(json.keys.find(({ signs }: { signs: boolean }) => signs).kid).toBe(made.kid);
    const answer = await api.call('PUT', '/statement-keys/document', { token, body: { document: 'a.b.c' } });
    expect([answer.status, answer.json.code]).toEqual([409, 'statement-key.own-root']);
  });
});
