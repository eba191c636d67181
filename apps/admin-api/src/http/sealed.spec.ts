/* eslint-disable @typescript-eslint/no-unsafe-argument, @typescript-eslint/no-unsafe-assignment, @typescript-eslint/no-unsafe-call, @typescript-eslint/no-unsafe-member-access -- answers are looked into as they come */
import { createHash, randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';

import { HttpPackSink, HttpPackSource } from '@azaion/adapters/http-packs';
import { ApiClient, fixedToken, HttpGrantApi, HttpUploadApi, HttpWellKnown } from '@azaion/adapters/resource-api';
import { chunkHash, deriveChunkKey, importVerificationKey, StatementKeys } from '@azaion/crypto';
import { SystemClock, toBase64Url } from '@azaion/kernel';
import {
  FetchResource,
  identifyChunk,
  PackReader,
  packObjectKey,
  PublishResource,
  type Recipient,
} from '@azaion/split-resource';
import {
  InMemoryPackStore,
  InMemorySegmentStore,
  InMemoryStatementTrust,
  softwareRecipient,
} from '@azaion/split-resource/testing';
import { pseudoRandomBytes } from '@azaion/testing';

import { sql } from 'kysely';

import { type Draft, type DraftPack, DraftUpload } from '../testing/draft-upload.js';
import { TestDevice } from '../testing/device.js';
import { type Account, type Answer, type StartedApi, startApi } from '../testing/started-api.js';
import { VerifyVersions } from '../sealed/verify-versions.js';

const MIB = 1024 * 1024;
const DIGEST = `sha256:${'0f'.repeat(32)}`;

describe('sealed resources over HTTP', () => {
  let api: StartedApi;
  let publisher: Account;
  let reader: Account;
  let device: TestDevice;
  let client: ApiClient;
  let sink: HttpPackSink;
  let source: HttpPackSource;
  beforeAll(async () => {
    api = await startApi();
    publisher = await api.account('ResourceUploader');
    reader = await api.account('Operator');
    device = await TestDevice.enrolled(api);
    client = new ApiClient({ baseUrl: api.url });
    sink = new HttpPackSink();
    source = new HttpPackSource();
  });
  afterAll(async () => {
    await sink.close();
    await source.close();
    await client.close();
    await api.stop();
  });

  const publish = (token: string, folder: string, name: string, content: Uint8Array) =>
    new PublishResource(new HttpUploadApi(client, fixedToken(token)), sink).run({
      resource: { folder, name },
      kind: 'file',
      content: Readable.from([content]),
      maxBytes: 100 * MIB,
    });
  const fetched = async (token: string, folder: string, name: string, recipient: Recipient, version?: number) => {
    const wellKnown = new HttpWellKnown(client);
    const trust = new InMemoryStatementTrust(async () => {
      const { kid, key } = await wellKnown.statementRoot();
      return StatementKeys.verify(
        await wellKnown.statementKeys(),
        await importVerificationKey(kid, key),
        0,
        Date.now() / 1000,
      );
    });
    const opened = await new FetchResource({
      api: new HttpGrantApi(client, fixedToken(token)),
      trust,
      reader: new PackReader(new InMemoryPackStore(), [source]),
      segments: new InMemorySegmentStore(),
      clock: new SystemClock(),
    }).run({ resource: { folder, name }, recipient, ...(version === undefined ? {} : { version }) });
    const parts: Buffer[] = [];
    for await (const part of opened.read()) parts.push(part);
    return { statement: opened.statement, content: Buffer.concat(parts) };
  };
  const grant = (token: string, path: string, body: object = {}, headers: Record<string, string> = {}) =>
    api.call('POST', `/sealed/${path}/grants`, {
      token,
      headers,
      body: {
        recipientPublicKey: toBase64Url(softwareRecipient().point),
        nonce: toBase64Url(randomBytes(16)),
        ...body,
      },
    });
  /** How many objects the API looks for in the meantime. */
  const headsDuring = async (work: () => Promise<void>): Promise<number> => {
    const { objects } = api.infrastructure;
    const head = objects.head.bind(objects);
    let count = 0;
    objects.head = (key) => {
      count++;
      return head(key);
    };
    try {
      await work();
    } finally {
      objects.head = head;
    }
    return count;
  };
  const recipientOf = (of: TestDevice): Recipient => {
    const recipient = softwareRecipient(of.serial);
    return { ...recipient, point: of.agreement.point };
  };

  describe('a version', () => {
    it.each([0, 1, 100_000, 3 * MIB])('of %i bytes arrives as it was published', async (sizeBytes) => {
      const content = randomBytes(sizeBytes);
      const name = `model-${String(sizeBytes)}`;
      const result = await publish(publisher.token, 'models', name, content);
      expect(result).toMatchObject({ version: 1, created: true, bytes: sizeBytes });
      const { statement, content: opened } = await fetched(reader.token, 'models', name, softwareRecipient());
      expect(opened.equals(content)).toBe(true);
      expect(statement).toMatchObject({
        folder: 'models',
        resource: name,
        version: 1,
        scope: 'fleet',
        publisher: publisher.id,
      });
    });

    it('is not made again of the same bytes; a small change costs a small transfer', async () => {
      const content = pseudoRandomBytes('repeated', 3 * MIB);
      const first = await publish(publisher.token, 'models', 'repeated', content);
      const again = await publish(publisher.token, 'models', 'repeated', content);
      expect(again).toMatchObject({ version: 1, created: false, uploadedBytes: 0 });
      content.write('changed', MIB);
      const changed = await publish(publisher.token, 'models', 'repeated', content);
      expect(changed).toMatchObject({ version: 2, created: true });
      expect(changed.uploadedBytes).toBeLessThan(first.uploadedBytes / 2);
      const old = await fetched(reader.token, 'models', 'repeated', softwareRecipient(), 1);
      expect(old.statement.version).toBe(1);
      const { json } = await api.call('GET', '/sealed/models/repeated', { token: reader.token });
      expect(json).toMatchObject({ name: 'repeated', kind: 'file' });
      expect(json.versions.map((each: { version: number }) => each.version)).toEqual([2, 1]);
      const folder = await api.call('GET', '/sealed/models', { token: reader.token });
      expect(folder.json.resources).toContainEqual(
        expect.objectContaining({ name: 'repeated', kind: 'file', latestVersion: 2, totalBytes: 3 * MIB }),
      );
    });

    it('is invisible before its commit', async () => {
      const upload = await DraftUpload.open(api, publisher, 'models/unfinished');
      await upload.pack(randomBytes(1000));
      expect((await api.call('GET', '/sealed/models/unfinished', { token: reader.token })).status).toBe(404);
      expect((await grant(reader.token, 'models/unfinished')).status).toBe(404);
      expect((await api.call('GET', '/sealed/models', { token: reader.token })).text).not.toContain('unfinished');
    });

    it('of equal bytes is another publisher’s own all the same: nobody can take a name’s next version away', async () => {
      const content = randomBytes(1000);
      const claimed = createHash('sha256').update(content).digest();
      const attacker = await DraftUpload.open(api, await api.account('ResourceUploader'), 'models/claimed');
      const foreign = await attacker.pack(randomBytes(1000));
      expect((await attacker.commit({ ...attacker.draft(foreign), sha256: claimed })).json).toEqual({ version: 1 });
      const honest = await publish(publisher.token, 'models', 'claimed', content);
      expect(honest).toMatchObject({ version: 2, created: true });
      const opened = await fetched(reader.token, 'models', 'claimed', softwareRecipient());
      expect(opened.content.equals(content)).toBe(true);
      expect((await publish(publisher.token, 'models', 'claimed', content)).created).toBe(false);
    });

    it('of equal bytes is another publisher’s, too, once that is verified, and only for who may read the folder', async () => {
      const content = randomBytes(1000);
      expect(await publish(publisher.token, 'shared', 'equal', content)).toMatchObject({ version: 1, created: true });
      const verifier = api.app.get(VerifyVersions);
      while (await verifier.next());
      const other = await api.account('ResourceUploader');
      expect(await publish(other.token, 'shared', 'equal', content)).toMatchObject({ version: 1, created: false });
      const rules = { token: api.administrator.token, body: { read: ['ApiAdmin'] } };
      expect((await api.call('PUT', '/folders/shared', rules)).status).toBe(200);
      expect(await publish(other.token, 'shared', 'equal', content)).toMatchObject({ version: 2, created: true });
    });

    /** A list page by page; each page as the names or numbers in it. */
    const pages = async (path: string, list: string, member: string, limit: number): Promise<unknown[][]> => {
      const found: unknown[][] = [];
      for (let cursor: string | undefined = ''; cursor !== undefined;) {
        const { status, json } = await api.call('GET', `${path}?limit=${limit}${cursor}`, { token: reader.token });
        expect(status).toBe(200);
        found.push((json[list] as Record<string, unknown>[]).map((entry) => entry[member]));
        cursor = json.cursor === undefined ? undefined : `&cursor=${String(json.cursor)}`;
      }
      return found;
    };

    it('is of what a folder lists page by page, each name once, in their order', async () => {
      for (const name of ['c', 'a', 'b']) await publish(publisher.token, 'paged', name, Buffer.from(name));
      expect(await pages('/sealed/paged', 'resources', 'name', 2)).toEqual([['a', 'b'], ['c']]);
    });

    it('is of what a resource lists page by page, the newest first; the resource stays the same on every page', async () => {
      for (const content of ['1', '2', '3']) await publish(publisher.token, 'paged', 'many', Buffer.from(content));
      expect(await pages('/sealed/paged/many', 'versions', 'version', 2)).toEqual([[3, 2], [1]]);
      expect(await pages('/sealed/paged/many', 'versions', 'version', 3)).toEqual([[3, 2, 1]]);
      const { json } = await api.call('GET', '/sealed/paged/many?cursor=1', { token: reader.token });
      expect(json).toEqual({ name: 'many', kind: 'file', pinnedVersion: null, versions: [] });
    });

    it('lies in a folder that is listed page by page, whoever else’s lie between', async () => {
      for (const folder of ['p1', 'p2', 'p3', 'p4', 'p5'])
        await publish(publisher.token, folder, 'x', Buffer.from('x'));
      for (const folder of ['p2', 'p3', 'p5'])
        await api.call('PUT', `/folders/${folder}`, { token: api.administrator.token, body: { read: ['ApiAdmin'] } });
      const all = (await pages('/sealed', 'folders', 'name', 10_000)).flat();
      expect(all.filter((name) => /^p\d$/.test(String(name)))).toEqual(['p1', 'p4']);
      for (const limit of [1, 2, all.length - 1, all.length]) {
        const found = await pages('/sealed', 'folders', 'name', limit);
        expect(found.flat()).toEqual(all);
        expect(found.map(({ length }) => length).slice(0, -1)).toEqual(found.slice(0, -1).map(() => limit));
        expect(found.at(-1)).not.toEqual([]);
      }
    });

    it.each(['/sealed', '/sealed/paged', '/sealed/paged/many'])(
      'is in no list %s of a page that cannot be',
      async (path) => {
        for (const query of ['limit=0', 'limit=10001', 'limit=x', 'cursor=../a', 'page=2'])
          expect((await api.call('GET', `${path}?${query}`, { token: reader.token })).status).toBe(400);
      },
    );

    it.each(['cursor=0', 'cursor=a', 'cursor=99999999999', 'cursor=-1'])('has no versions behind %s', async (query) => {
      expect((await api.call('GET', `/sealed/paged/many?${query}`, { token: reader.token })).status).toBe(400);
    });

    it('of a folder that nobody has used is 404, the folder itself empty', async () => {
      expect((await grant(reader.token, 'nowhere/nothing')).status).toBe(404);
      expect((await api.call('GET', '/sealed/nowhere', { token: reader.token })).json).toEqual({ resources: [] });
    });
  });

  describe('uploads', () => {
    it.each(['Operator', 'Validator', 'Admin', 'Service', 'CompanionPC'] as const)(
      'are not for the role %s',
      async (role) => {
        const { token } = await api.account(role);
        expect((await api.call('POST', '/sealed/models/x/uploads', { token, body: {} })).status).toBe(403);
      },
    );

    it.each([
      '/sealed/.hidden/x/uploads',
      '/sealed/models/..%2Fx/uploads',
      '/sealed/uploads/x/uploads',
      '/sealed/grants/x/uploads',
    ])('refuses the name in %s with 422', async (path) => {
      expect((await api.call('POST', path, { token: publisher.token, body: {} })).status).toBe(422);
    });

    it('refuses unknown fields', async () => {
      const opened = await api.call('POST', '/sealed/models/x/uploads', {
        token: publisher.token,
        body: { hardware: 'x' },
      });
      expect(opened.status).toBe(400);
      const granted = await grant(reader.token, 'models/x', { hardware: 'x' });
      expect(granted.json.errors).toEqual([{ field: 'hardware', messages: ['is not known here'] }]);
    });

    it('belong to who opened them', async () => {
      const upload = await DraftUpload.open(api, publisher, 'models/mine');
      const other = await api.account('ResourceUploader');
      const calls: [string, string, unknown][] = [
        ['GET', '', undefined],
        ['PUT', '/heartbeat', undefined],
        ['POST', '/known-chunks', { ids: [toBase64Url(randomBytes(16))] }],
        ['POST', '/packs', { sizeBytes: 1, sha256: toBase64Url(randomBytes(32)), md5: toBase64Url(randomBytes(16)) }],
        ['PUT', '/segments/root/0', randomBytes(100)],
        [
          'POST',
          '/commit',
          { recipeKey: toBase64Url(randomBytes(32)), kind: 'file', chunkSegments: 0, packSegments: 0 },
        ],
        ['DELETE', '', undefined],
      ];
      for (const [method, path, body] of calls) {
        const answer = await api.call(method, `/sealed/uploads/${upload.id}${path}`, { token: other.token, body });
        expect(answer.status).toBe(404);
      }
    });

    it('take no more packs than a recipe can name', async () => {
      const upload = await DraftUpload.open(api, publisher, 'models/many-packs');
      const { queries } = api.infrastructure.database;
      const set = (count: number) =>
        queries.updateTable('uploads').set({ pack_count: count }).where('id', '=', upload.id).execute();
      const announce = () => upload.call('POST', '/packs', { sizeBytes: 1, sha256: toBase64Url(randomBytes(32)) });
      await set(262_143);
      expect((await announce()).status).toBe(201);
      const refused = await announce();
      expect([refused.status, refused.json.code]).toEqual([422, 'upload.refused']);
      const rows = await queries.selectFrom('packs').select('id').where('upload_id', '=', upload.id).execute();
      expect(rows).toHaveLength(1);
    });

    it('take packs without an MD5 where files hold them, and do not look at one', async () => {
      const upload = await DraftUpload.open(api, publisher, 'models/no-md5');
      expect(upload.opened.packMd5).toBe(false);
      const sha256 = toBase64Url(randomBytes(32));
      for (const md5 of [{}, { md5: toBase64Url(randomBytes(16)) }]) {
        const announced = await upload.call('POST', '/packs', { sizeBytes: 1, sha256, ...md5 });
        expect({ status: announced.status, headers: announced.json.headers }).toEqual({
          status: 201,
          headers: { 'content-type': 'application/octet-stream', 'content-length': '1', 'if-none-match': '*' },
        });
      }
      const { status } = await upload.call('POST', '/packs', {
        sizeBytes: 1,
        sha256,
        md5: toBase64Url(randomBytes(15)),
      });
      expect(status).toBe(400);
    });

    it('show what they have, can be extended and given up', async () => {
      const upload = await DraftUpload.open(api, publisher, 'models/progress');
      const pack = await upload.pack(randomBytes(5000));
      await upload.known([pack.chunks[0]!.id]);
      await upload.call('PUT', '/segments/chunks/0', randomBytes(200));
      const { json } = await upload.call('GET', '');
      expect(json).toMatchObject({
        uploadId: upload.id,
        state: 'open',
        packs: [{ packId: pack.packId, sizeBytes: pack.sizeBytes, written: true }],
        segments: [{ kind: 'chunks', index: 0 }],
      });
      expect((await upload.call('PUT', '/heartbeat')).json.expiresAt).toBeGreaterThanOrEqual(json.expiresAt as number);
      expect((await upload.call('DELETE', '')).status).toBe(204);
      expect((await upload.call('PUT', '/heartbeat')).status).toBe(409);
    });

    it.each([
      ['root', 0, 1_000_000],
      ['chunks', 0, 400_000],
      ['packs', 0, 400_000],
    ])('refuse a %s segment that is too long', async (kind, index, sizeBytes) => {
      const upload = await DraftUpload.open(api, publisher, 'models/long');
      const { status } = await upload.call('PUT', `/segments/${kind}/${String(index)}`, randomBytes(sizeBytes));
      expect(status).toBe(413);
    });

    it('refuse a table whose entries overlap, lie outside, or are cut', async () => {
      const upload = await DraftUpload.open(api, publisher, 'models/tables');
      const pack = await upload.announce(randomBytes(5000), randomBytes(5000));
      const [first, second] = pack.chunks as [DraftPack['chunks'][0], DraftPack['chunks'][0]];
      const tables = [
        [first, { ...second, offset: second.offset - 1 }],
        [second, first],
        [first, { ...second, sealedBytes: second.sealedBytes + 1 }],
        [{ ...first, sealedBytes: 0 }],
        [{ ...first, offset: 0xffff_ffff }],
        [first, { ...second, id: first.id }],
      ];
      for (const table of tables) expect((await upload.register(pack, table)).status).toBe(422);
      expect((await upload.call('PUT', `/packs/${pack.packId}/chunks`, randomBytes(23))).status).toBe(422);
      expect((await upload.call('PUT', `/packs/${'0'.repeat(32)}/chunks`, randomBytes(24))).status).toBe(404);
    });
  });

  describe('known chunks', () => {
    const content = randomBytes(50_000);

    /** How often each index of the chunk tables was looked into. */
    async function indexScans(): Promise<Record<'pack_chunks_chunk' | 'pack_chunks_pkey', number>> {
      const { rows } = await sql<{ name: string; scans: number }>`
        select indexrelname as name, idx_scan::int as scans from pg_stat_user_indexes
        where relname = 'pack_chunks'`.execute(api.infrastructure.database.queries);
      const of = (index: string): number => rows.find(({ name }) => name === index)?.scans ?? 0;
      return { pack_chunks_chunk: of('pack_chunks_chunk'), pack_chunks_pkey: of('pack_chunks_pkey') };
    }

    it('are the caller’s own: committed, or written by an interrupted upload', async () => {
      const mine = await api.account('ResourceUploader');
      const first = await DraftUpload.open(api, mine, 'known/first');
      const { id } = identifyChunk(content, first.domainKey);
      expect((await first.known([id])).json).toEqual([]);
      const announced = await first.announce(content);
      await first.register(announced);
      expect((await first.known([id])).json).toEqual([]); // not written yet
      expect(await first.write(announced)).toBe(200);

      const resumed = await DraftUpload.open(api, mine, 'known/second');
      const expected = {
        id: toBase64Url(id),
        packId: announced.packId,
        packSize: announced.sizeBytes,
        packSha256: toBase64Url(announced.sha256),
        offset: 0,
        sealedLength: announced.sizeBytes,
      };
      expect((await resumed.known([id, randomBytes(16)])).json).toEqual([expected]);
      expect((await resumed.commit(resumed.draft(announced))).status).toBe(201);
      expect((await (await DraftUpload.open(api, mine, 'known/third')).known([id])).json).toEqual([expected]);

      const stranger = await DraftUpload.open(api, await api.account('ResourceUploader'), 'known/first');
      expect((await stranger.known([id])).json).toEqual([]);
      const elsewhere = await DraftUpload.open(api, mine, 'other-folder/first');
      expect((await elsewhere.known([id])).json).toEqual([]);
    });

    it('are few rows each, however many packs hold them, and asked for twice still one answer', async () => {
      const mine = await api.account('ResourceUploader');
      const upload = await DraftUpload.open(api, mine, 'known/many');
      const { id } = identifyChunk(content, upload.domainKey);
      const packs: Awaited<ReturnType<DraftUpload['announce']>>[] = []; // one after the other: the newest are asked for first
      for (let count = 0; count < 9; count += 1) packs.push(await upload.announce(content));
      for (const pack of packs) expect((await upload.register(pack)).status).toBe(204);
      const heads = await headsDuring(async () => {
        expect((await upload.known([id])).json).toEqual([]);
      });
      expect(heads).toBeLessThanOrEqual(4);
      expect(await upload.write(packs.at(-1)!)).toBe(200);
      expect((await upload.known([id, id])).json).toHaveLength(1);
    });

    // A young database has no statistics, and neither has a table that has just been filled.
    it('are looked up by their ids, not in every pack of the folder', async () => {
      const on = api.infrastructure.database.queries;
      const upload = await DraftUpload.open(api, await api.account('ResourceUploader'), 'crowded/first');
      const one = await upload.pack(content);
      await sql`
        insert into packs (id, folder_id, domain, upload_id, owner_id, size_bytes, sha256, state, has_table, seen_written, created_at)
        select md5('crowded ' || n), folder_id, domain, upload_id, owner_id, size_bytes, sha256, state, has_table, true, created_at
        from packs cross join generate_series(1, 40) as n where id = ${one.packId}`.execute(on);
      await sql`
        insert into pack_chunks (pack_id, start_byte, sealed_bytes, chunk_id)
        select id, chunk, 1, decode(md5(id || chunk), 'hex') from packs cross join generate_series(0, 199) as chunk
        where upload_id = ${upload.id} and id <> ${one.packId}`.execute(on);
      const { rows } = await sql<{ chunk_id: Buffer }>`
        select chunk_id from pack_chunks join packs on packs.id = pack_chunks.pack_id
        where upload_id = ${upload.id} limit 500`.execute(on);

      const before = await indexScans();
      expect((await upload.known(rows.map(({ chunk_id: id }) => id))).json).toHaveLength(500);
      let byChunk = 0;
      let byPack = 0;
      // The database adds up now and then.
      while (byChunk + byPack < 500) {
        await delay(50);
        const scans = await indexScans();
        byChunk = scans.pack_chunks_chunk - before.pack_chunks_chunk;
        byPack = scans.pack_chunks_pkey - before.pack_chunks_pkey;
      }
      expect(byPack).toBeLessThan(100); // others look for theirs, now and then
    });

    it.each([[[]], [['short']], [Array.from({ length: 4097 }, () => toBase64Url(randomBytes(16)))], ['text']])(
      'refuses ids %#',
      async (ids) => {
        const upload = await DraftUpload.open(api, publisher, 'known/bad');
        expect((await upload.call('POST', '/known-chunks', { ids })).status).toBe(400);
      },
    );
  });

  describe('a commit', () => {
    const started = async (name: string): Promise<{ upload: DraftUpload; pack: DraftPack; draft: Draft }> => {
      const upload = await DraftUpload.open(api, publisher, `models/${name}`);
      const pack = await upload.pack(randomBytes(40_000), randomBytes(50_000));
      return { upload, pack, draft: upload.draft(pack) };
    };
    const refusals: [string, RegExp, (draft: Draft, pack: DraftPack, upload: DraftUpload) => Promise<void> | void][] = [
      [
        'a chunk key that is not its content’s',
        /key of a chunk does not belong/,
        (draft) => void (draft.chunks[0] = { ...draft.chunks[0]!, key: randomBytes(32) }),
      ],
      [
        'another content’s hash with its own key',
        /no such chunk/,
        (draft, _pack, upload) => {
          const h = chunkHash(randomBytes(10));
          draft.chunks[0] = { ...draft.chunks[0]!, h, key: deriveChunkKey(upload.domainKey, h) };
        },
      ],
      [
        'another domain',
        /another dedup domain/,
        (draft) => void (draft.chunks[0] = { ...draft.chunks[0]!, domain: 1 }),
      ],
      [
        'an offset between chunks',
        /no such chunk/,
        (draft) => void (draft.chunks[1] = { ...draft.chunks[1]!, offset: draft.chunks[1]!.offset - 1 }),
      ],
      [
        'a shorter sealed chunk',
        /no such chunk/,
        (draft) => void (draft.chunks[1] = { ...draft.chunks[1]!, sealedBytes: draft.chunks[1]!.sealedBytes - 1 }),
      ],
      ['chunks that overlap', /no such chunk/, (draft) => void (draft.chunks[1] = { ...draft.chunks[1]!, offset: 10 })],
      [
        'a chunk outside of its pack',
        /outside of its pack/,
        (draft) => void (draft.chunks[1] = { ...draft.chunks[1]!, offset: 80_000 }),
      ],
      [
        'another size of the pack',
        /otherwise than it was announced/,
        (draft) => void (draft.packs[0] = { ...draft.packs[0]!, sizeBytes: draft.packs[0]!.sizeBytes + 1 }),
      ],
      [
        'another hash of the pack',
        /otherwise than it was announced/,
        (draft) => void (draft.packs[0] = { ...draft.packs[0]!, sha256: randomBytes(32) }),
      ],
      [
        'a pack that was never announced',
        /not of this upload/,
        (draft) => void (draft.packs[0] = { ...draft.packs[0]!, packId: '0'.repeat(32) }),
      ],
      [
        'a pack that nothing lies in',
        /none of its chunks/,
        async (draft, _pack, upload) => void draft.packs.push(await upload.pack(randomBytes(100))),
      ],
      [
        'a chunk that is smaller than any but the last may be',
        /smaller than the cutter/,
        async (draft, _pack, upload) => {
          Object.assign(draft, upload.draft(await upload.pack(randomBytes(32_767), randomBytes(50_000))));
        },
      ],
      [
        'a pack of another publisher',
        /not of this upload/,
        async (draft) => {
          const other = await DraftUpload.open(api, await api.account('ResourceUploader'), 'models/theirs');
          const theirs = await other.pack(randomBytes(40_000), randomBytes(50_000));
          Object.assign(draft, other.draft(theirs));
        },
      ],
      [
        'a pack of another folder',
        /not of this upload/,
        async (draft) => {
          const other = await DraftUpload.open(api, publisher, 'elsewhere/mine');
          const theirs = await other.pack(randomBytes(40_000), randomBytes(50_000));
          Object.assign(draft, other.draft(theirs));
        },
      ],
      [
        'a pack without a table',
        /not of this upload/,
        async (draft, _pack, upload) => {
          const bare = await upload.announce(randomBytes(100));
          await upload.write(bare);
          Object.assign(draft, upload.draft(bare));
        },
      ],
    ];
    it.each(refusals)('with %s is refused and makes nothing', async (what, why, attack) => {
      const name = `attack-${what.replace(/[^a-z]+/g, '-')}`;
      const { upload, pack, draft } = await started(name);
      await attack(draft, pack, upload);
      const { status, json } = await upload.commit(draft);
      expect({ status, code: json.code, detail: json.detail }).toEqual({
        status: 422,
        code: 'upload.refused',
        detail: expect.stringMatching(why),
      });
      expect((await grant(reader.token, `models/${name}`)).status).toBe(404);
    });

    it('with another recipe key is refused; with the right one afterwards it is not', async () => {
      const { upload, draft } = await started('wrong-key');
      expect((await upload.commit(draft, randomBytes(32))).status).toBe(422);
      expect((await upload.commit(draft)).status).toBe(201);
    });

    it('with a segment missing, or changed, is refused', async () => {
      const { upload, draft } = await started('lost-segment');
      expect(
        (
          await upload.call('POST', '/commit', {
            recipeKey: toBase64Url(draft.recipeKey),
            kind: 'file',
            chunkSegments: 1,
            packSegments: 1,
          })
        ).status,
      ).toBe(422);
      const queries = api.infrastructure.database.queries;
      await upload.commit(draft, randomBytes(32));
      await queries
        .updateTable('upload_segments')
        .set({ sealed: randomBytes(300) })
        .where('upload_id', '=', upload.id)
        .where('kind', '=', 'chunks')
        .execute();
      expect(
        (
          await upload.call('POST', '/commit', {
            recipeKey: toBase64Url(draft.recipeKey),
            kind: 'file',
            chunkSegments: 1,
            packSegments: 1,
          })
        ).status,
      ).toBe(422);
    });

    it('asks the object store nothing while it holds locks', async () => {
      const { upload, draft } = await started('heads');
      const { objects, database } = api.infrastructure;
      const head = objects.head.bind(objects);
      const locked: boolean[] = [];
      objects.head = async (key) => {
        const { rows } = await sql<{ free: boolean }>`
          select exists (select from uploads where id = ${upload.id} for update skip locked) as free`.execute(
          database.queries,
        );
        locked.push(rows[0]?.free !== true);
        return head(key);
      };
      try {
        expect((await upload.commit(draft)).status).toBe(201);
      } finally {
        objects.head = head;
      }
      expect(locked).toEqual([false]);
    });

    it('given up at the same moment is one of both, not half of each', async () => {
      for (let round = 0; round < 5; round++) {
        const { upload, draft } = await started(`abandoned-${String(round)}`);
        await upload.commit(draft, randomBytes(32)); // hands the segments in
        const body = { recipeKey: toBase64Url(draft.recipeKey), kind: 'file', chunkSegments: 1, packSegments: 1 };
        const [committed, abandoned] = await Promise.all([
          upload.call('POST', '/commit', body),
          upload.call('DELETE', ''),
        ]);
        const { json } = await upload.call('GET', '');
        expect([committed.status, abandoned.status, json.state]).toEqual(
          committed.status === 201 ? [201, 409, 'committed'] : [409, 204, 'abandoned'],
        );
      }
    });

    it('names the packs that are not in the object store', async () => {
      const upload = await DraftUpload.open(api, publisher, 'models/gone');
      const pack = await upload.announce(randomBytes(1000));
      await upload.register(pack);
      const { status, json } = await upload.commit(upload.draft(pack));
      expect({ status, code: json.code, packIds: json.packIds }).toEqual({
        status: 409,
        code: 'upload.pack-gone',
        packIds: [pack.packId],
      });
      await upload.write(pack);
      expect((await upload.commit(upload.draft(pack))).status).toBe(201);
    });

    it('looks again for a pack that was there and has gone', async () => {
      const { upload, pack, draft } = await started('went');
      expect((await upload.known([pack.chunks[0]!.id])).json).toHaveLength(1);
      await api.infrastructure.objects.delete(packObjectKey(upload.opened.folderId as string, pack.packId));
      expect((await upload.commit(draft)).json.code).toBe('upload.pack-gone');
      expect((await upload.known([pack.chunks[0]!.id])).json).toEqual([]); // or publishing it again would end here for ever
    });

    it('lets a publisher whose pack was lost publish again', async () => {
      const content = randomBytes(50_000);
      const upload = await DraftUpload.open(api, publisher, 'models/lost');
      const pack = await upload.pack(content);
      expect((await upload.known([pack.chunks[0]!.id])).json).toHaveLength(1);
      await api.infrastructure.objects.delete(packObjectKey(upload.opened.folderId as string, pack.packId));
      expect((await upload.commit(upload.draft(pack))).status).toBe(409);
      expect(await publish(publisher.token, 'models', 'lost', content)).toMatchObject({ version: 1, created: true });
    });

    it.each([
      ['with U+0000', 'azaion/x\u0000:1'],
      ['empty', ''],
      ['with spaces', 'azaion/x :1'],
      ['not of ASCII letters', 'azaion/ж:1'],
      ['that would double in JSON', '"'.repeat(512)],
      ['that is too long', 'x'.repeat(513)],
    ])('with an image reference %s is refused', async (_name, reference) => {
      const { upload, draft } = await started('images');
      const { status, json } = await upload.call('POST', '/commit', {
        recipeKey: toBase64Url(draft.recipeKey),
        kind: 'images',
        chunkSegments: 1,
        packSegments: 1,
        images: [{ reference, configDigest: DIGEST, manifestDigest: null }],
      });
      expect({ status, field: json.errors[0].field }).toEqual({ status: 400, field: 'images.0.reference' });
    });

    it('with as many and as long image references as are accepted makes a version', async () => {
      const { upload, draft } = await started('most-images');
      const images = Array.from({ length: 256 }, (_, index) => ({
        reference: String(index).padStart(512, 'x'),
        configDigest: DIGEST,
        manifestDigest: DIGEST,
      }));
      await upload.commit(draft, randomBytes(32)); // hands the segments in
      const { status } = await upload.call('POST', '/commit', {
        recipeKey: toBase64Url(draft.recipeKey),
        kind: 'images',
        chunkSegments: 1,
        packSegments: 1,
        images,
      });
      expect(status).toBe(201);
    });

    it('repeated gives the same answer and no second version', async () => {
      const { upload, draft } = await started('repeated-commit');
      const body = { recipeKey: toBase64Url(draft.recipeKey), kind: 'file', chunkSegments: 1, packSegments: 1 };
      expect((await upload.commit(draft)).status).toBe(201);
      const repeats = await Promise.all([1, 2, 3].map(() => upload.call('POST', '/commit', body)));
      for (const { status, json } of repeats) expect({ status, json }).toEqual({ status: 201, json: { version: 1 } });
    });

    it('beside others of the same name gets a number of its own', async () => {
      const uploads = await Promise.all(Array.from({ length: 4 }, () => started('contended')));
      const answers = await Promise.all(uploads.map(({ upload, draft }) => upload.commit(draft)));
      expect(answers.map(({ json }) => json.version as number).sort()).toEqual([1, 2, 3, 4]);
    });

    it('keeps neither the publisher’s key nor a plain hash of the content', async () => {
      const { upload, draft } = await started('kept');
      await upload.commit(draft);
      const row = await api.infrastructure.database.queries
        .selectFrom('versions')
        .selectAll()
        .where('resource_id', '=', upload.opened.resourceId as string)
        .executeTakeFirstOrThrow();
      const stored = Buffer.concat([row.wrapped_recipe_key, row.content_mac, Buffer.from(row.statement)]);
      expect(stored.includes(Buffer.from(draft.recipeKey))).toBe(false);
      expect(stored.includes(Buffer.from(draft.sha256))).toBe(false);
    });
  });

  describe('a grant', () => {
    beforeAll(async () => {
      await publish(publisher.token, 'models', 'granted', randomBytes(1000));
    });

    it('is for a device’s enrolled key only, and a lease', async () => {
      const token = await device.token();
      expect((await grant(token, 'models/granted')).json.code).toBe('device.key-required');
      const { status, json } = await grant(token, 'models/granted', {
        recipientPublicKey: toBase64Url(device.agreement.point),
      });
      expect(status).toBe(201);
      const claims = JSON.parse(Buffer.from((json.grantToken as string).split('.')[1]!, 'base64url').toString());
      expect(claims).toMatchObject({ lease: true, notAfter: (claims.issuedAt as number) + 7 * 86_400 });
    });

    it('for a person is no lease, lives 15 minutes and never names a device’s key', async () => {
      const { json } = await grant(reader.token, 'models/granted');
      const claims = JSON.parse(Buffer.from((json.grantToken as string).split('.')[1]!, 'base64url').toString());
      expect(claims).toMatchObject({ lease: false, notAfter: (claims.issuedAt as number) + 900, subject: reader.id });
      for (const { token } of [reader, publisher, api.administrator]) {
        const foreign = await grant(token, 'models/granted', {
          recipientPublicKey: toBase64Url(device.agreement.point),
        });
        expect(foreign.json.code).toBe('device.key-required');
      }
    });

    it('is refused to a device that logged in with its password, or names another device’s key', async () => {
      const bare = await TestDevice.register(api);
      const password = (await api.logIn(bare.email, bare.password)).json.access_token as string;
      expect((await grant(password, 'models/granted')).json.code).toBe('device.not-enrolled');
      const other = await TestDevice.enrolled(api);
      const foreign = { recipientPublicKey: toBase64Url(device.agreement.point) };
      expect((await grant(await other.token(), 'models/granted', foreign)).json.code).toBe('device.key-required');
    });

    it.each([
      ['a short nonce', { nonce: toBase64Url(randomBytes(15)) }, 400],
      ['a long nonce', { nonce: toBase64Url(randomBytes(65)) }, 400],
      ['a short key', { recipientPublicKey: toBase64Url(randomBytes(64)) }, 400],
      ['a key off the curve', { recipientPublicKey: toBase64Url(Buffer.concat([Buffer.of(4), randomBytes(64)])) }, 422],
      ['version 0', { version: 0 }, 400],
      ['a version that does not exist', { version: 7 }, 404],
      ['the largest version', { version: 0x7fff_ffff }, 404],
      ['a version beyond all', { version: 0x8000_0000 }, 400],
    ])('with %s is refused', async (_name, body, status) => {
      expect((await grant(reader.token, 'models/granted', body)).status).toBe(status);
    });

    it('gives segments and URLs of its own version, to its own subject', async () => {
      const { json } = await grant(reader.token, 'models/granted');
      const path = `/sealed/grants/${json.grantId as string}`;
      const other = await publish(publisher.token, 'models', 'not-granted', randomBytes(1000));
      expect(other.version).toBe(1);
      const foreignPack = await api.infrastructure.database.queries
        .selectFrom('version_packs')
        .innerJoin('resources', 'resources.id', 'version_packs.resource_id')
        .select('pack_id')
        .where('resources.name', '=', 'not-granted')
        .executeTakeFirstOrThrow();
      expect((await api.call('GET', `${path}/segments/root/0`, { token: reader.token })).status).toBe(200);
      expect((await api.call('GET', `${path}/segments/chunks/1`, { token: reader.token })).status).toBe(404);
      const packIds = [json.urls[0].packId as string];
      expect((await api.call('POST', `${path}/urls`, { token: reader.token, body: { packIds } })).json).toHaveLength(1);
      for (const body of [{ packIds: [foreignPack.pack_id] }, { packIds: [...packIds, foreignPack.pack_id] }])
        expect((await api.call('POST', `${path}/urls`, { token: reader.token, body })).status).toBe(404);
      const stranger = await api.account('Operator');
      expect((await api.call('GET', `${path}/segments/root/0`, { token: stranger.token })).status).toBe(404);
      expect((await api.call('POST', `${path}/urls`, { token: stranger.token, body: { packIds } })).status).toBe(404);
    });

    it('ends with its subject’s account, at once', async () => {
      const leaver = await api.account('Operator');
      const { json } = await grant(leaver.token, 'models/granted');
      await api.infrastructure.database.queries
        .updateTable('users')
        .set({ is_enabled: false })
        .where('id', '=', leaver.id)
        .execute();
      expect((await grant(leaver.token, 'models/granted')).json.code).toBe('user.disabled');
      expect(
        (await api.call('GET', `/sealed/grants/${json.grantId as string}/segments/root/0`, { token: leaver.token }))
          .status,
      ).toBe(403);
    });

    it('carried by a device needs that device’s good standing too', async () => {
      const carrier = await TestDevice.enrolled(api);
      const token = await carrier.token();
      expect((await grant(reader.token, 'models/granted', {}, { 'azaion-device': token })).status).toBe(201);
      expect((await grant(reader.token, 'models/granted', {}, { 'azaion-device': reader.token })).json.code).toBe(
        'device.not-enrolled',
      );
      expect((await grant(reader.token, 'models/granted', {}, { 'azaion-device': 'forged' })).status).toBe(401);
      await api.call('POST', `/devices/${carrier.serial}/revoke`, { token: api.administrator.token, body: {} });
      expect((await grant(reader.token, 'models/granted', {}, { 'azaion-device': token })).json.code).toBe(
        'device.revoked',
      );
      expect(
        (await grant(token, 'models/granted', { recipientPublicKey: toBase64Url(carrier.agreement.point) })).json.code,
      ).toBe('device.revoked');
    });

    it('carried by a device needs that device’s account too', async () => {
      const carrier = await TestDevice.enrolled(api);
      const token = await carrier.token();
      const enable = (enabled: boolean) =>
        api.infrastructure.database.queries
          .updateTable('users')
          .set({ is_enabled: enabled })
          .where('email', '=', carrier.email)
          .execute();
      await enable(false);
      expect((await grant(reader.token, 'models/granted', {}, { 'azaion-device': token })).json.code).toBe(
        'user.disabled',
      );
      await enable(true);
      expect((await grant(reader.token, 'models/granted', {}, { 'azaion-device': token })).status).toBe(201);
    });

    it('is not for tokens of ended sessions, the carrier’s neither', async () => {
      const leaver = await api.account('Operator');
      expect((await grant(leaver.token, 'models/granted')).status).toBe(201);
      await api.call('POST', '/logout', { token: leaver.token });
      expect((await grant(leaver.token, 'models/granted')).json.code).toBe('token.invalid');

      const carrier = await TestDevice.enrolled(api);
      const older = await carrier.token();
      const asAdministrator = { token: api.administrator.token, body: {} };
      expect((await api.call('POST', `/devices/${carrier.serial}/reset`, asAdministrator)).status).toBe(204);
      expect((await carrier.enrol(await carrier.enrolment())).status).toBe(204);
      const recipientPublicKey = toBase64Url(carrier.agreement.point);
      expect((await grant(older, 'models/granted', { recipientPublicKey })).json.code).toBe('token.invalid');
      expect((await grant(reader.token, 'models/granted', {}, { 'azaion-device': older })).json.code).toBe(
        'token.invalid',
      );
      expect((await grant(await carrier.token(), 'models/granted', { recipientPublicKey })).status).toBe(201);
    });

    it('ends with its subject’s right to the folder', async () => {
      const { json } = await grant(reader.token, 'models/granted');
      const path = `/sealed/grants/${json.grantId as string}`;
      const packIds = [json.urls[0].packId as string];
      const rules = (read?: readonly string[]): Promise<Answer> =>
        api.call('PUT', '/folders/models', { token: api.administrator.token, body: { read } });
      const answers = async (): Promise<readonly Answer[]> => [
        await api.call('GET', `${path}/segments/root/0`, { token: reader.token }),
        await api.call('POST', `${path}/urls`, { token: reader.token, body: { packIds } }),
      ];
      await rules(['ApiAdmin']);
      for (const answer of await answers())
        expect({ status: answer.status, code: answer.json.code }).toEqual({ status: 403, code: 'folder.forbidden' });
      await rules();
      for (const answer of await answers()) expect(answer.status).toBe(200);
    });

    it('is recorded with who, what and from where', async () => {
      const { json } = await grant(reader.token, 'models/granted');
      const events = await api.infrastructure.database.queries
        .selectFrom('audit_events')
        .selectAll()
        .where('event', '=', 'grant.issued')
        .orderBy('id', 'desc')
        .limit(1)
        .execute();
      expect(events[0]).toMatchObject({
        actor: reader.id,
        subject: 'models/granted',
        address: '127.0.0.1',
        details: { grantId: json.grantId, version: 1 },
      });
    });
  });

  describe('what a device publishes', () => {
    it('lies in a domain of its own and is for itself and administrators', async () => {
      const token = await device.token();
      await publish(publisher.token, 'engines', 'engine', randomBytes(1000));
      const main = await DraftUpload.open(api, publisher, 'engines/engine');
      const own = await DraftUpload.open(api, { token }, 'engines/engine');
      expect(own.opened.domain).not.toBe(main.opened.domain);
      expect(own.opened.dedupKey).not.toBe(main.opened.dedupKey);
      const pack = await own.pack(randomBytes(2000));
      expect((await own.commit(own.draft(pack))).json).toEqual({ version: 2 });

      const statementOf = (json: { statement: string }) =>
        JSON.parse(Buffer.from(json.statement.split('.')[1]!, 'base64url').toString()) as {
          version: number;
          scope: string;
        };
      const key = { recipientPublicKey: toBase64Url(device.agreement.point) };
      expect(statementOf((await grant(token, 'engines/engine', key)).json)).toMatchObject({
        version: 2,
        scope: `device:${device.serial}`,
      });
      expect(statementOf((await grant(reader.token, 'engines/engine')).json)).toMatchObject({
        version: 1,
        scope: 'fleet',
      });
      expect((await grant(reader.token, 'engines/engine', { version: 2 })).status).toBe(404);
      expect((await grant(api.administrator.token, 'engines/engine', { version: 2 })).status).toBe(201);
      const listed = await api.call('GET', '/sealed/engines/engine', { token: reader.token });
      expect(listed.json.versions).toHaveLength(1);
    });

    it('goes into no other folder', async () => {
      const { status, json } = await api.call('POST', '/sealed/models/x/uploads', {
        token: await device.token(),
        body: {},
      });
      expect({ status, code: json.code }).toEqual({ status: 403, code: 'folder.forbidden' });
    });
  });

  it('opens for an enrolled device with the key that it enrolled', async () => {
    const content = randomBytes(10_000);
    await publish(publisher.token, 'models', 'for-the-device', content);
    const { softwareEcdh } = await import('@azaion/crypto');
    const recipient = { ...recipientOf(device), ecdh: softwareEcdh(device.agreement.privateJwk) };
    const opened = await fetched(await device.token(), 'models', 'for-the-device', recipient);
    expect(opened.content.equals(content)).toBe(true);
  });

  it('keeps a pack as an object of its folder that a plain GET cannot read', async () => {
    const upload = await DraftUpload.open(api, publisher, 'models/objects');
    const pack = await upload.pack(randomBytes(100));
    const key = packObjectKey(upload.opened.folderId as string, pack.packId);
    expect(await api.infrastructure.objects.head(key)).toEqual({ sizeBytes: pack.sizeBytes });
    expect((await api.call('GET', `/objects/${key}`)).status).toBe(403);
  });
});
