/* eslint-disable @typescript-eslint/no-unsafe-assignment, @typescript-eslint/no-unsafe-member-access -- answers are looked into as they come */
import { createHash, hash } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';

import { HttpPackSink } from '@azaion/adapters/http-packs';
import { ApiClient, fixedToken, HttpUploadApi } from '@azaion/adapters/resource-api';
import { CHUNK_OVERHEAD_BYTES } from '@azaion/crypto';
import { ManualClock, toBase64Url } from '@azaion/kernel';
import { Chunker, PackSink, PublishResource, type PublishResult, ResourceError } from '@azaion/split-resource';
import { pseudoRandomBytes } from '@azaion/testing';

import { CollectPacks, CONDEMNED_SECONDS } from '../sealed/collect-packs.js';
import { UPLOAD_LIFE_SECONDS } from '../sealed/uploads.js';
import { VerifyVersions } from '../sealed/verify-versions.js';
import { DraftUpload } from '../testing/draft-upload.js';
import { type Account, type Answer, type StartedApi, startApi } from '../testing/started-api.js';

const MIB = 1024 * 1024;
const MAX_UPLOADS = 4;
/** Allows 512 rows of chunk tables and 16 KiB of segments. */
const MAX_BYTES = 8 * MIB;

/** The chunks of a content by their hash. */
function chunksOf(content: Uint8Array): Map<string, number> {
  const chunks = new Map<string, number>();
  const chunker = new Chunker();
  for (let start = 0; start < content.length;) {
    const end = chunker.endOf(content, start, content.length) ?? content.length;
    chunks.set(hash('sha256', content.subarray(start, end)), end - start);
    start = end;
  }
  return chunks;
}

const sum = (numbers: Iterable<number>): number => [...numbers].reduce((total, number) => total + number, 0);

const sizeOf = (parts: readonly Uint8Array[]): number => sum(parts.map(({ length }) => length));

/** Writes to the sink behind it, with a word before each pack. */
class WatchedSink extends PackSink {
  constructor(
    private readonly behind: PackSink,
    private readonly beforePut: (sizeBytes: number) => void | Promise<void>,
  ) {
    super();
  }

  override async put(...[target, parts, ...rest]: Parameters<PackSink['put']>): Promise<void> {
    await this.beforePut(sizeOf(parts));
    await this.behind.put(target, parts, ...rest);
  }
}

describe('publishing over HTTP', () => {
  const clock = new ManualClock(Date.UTC(2026, 0, 1));
  let api: StartedApi;
  let client: ApiClient;
  let sink: HttpPackSink;
  let names = 0;
  beforeAll(async () => {
    const env = { DRAFT_MAX_UPLOADS: String(MAX_UPLOADS), DRAFT_MAX_BYTES: String(MAX_BYTES) };
    api = await startApi({ ...env, ACCESS_TOKEN_SECONDS: '3600' }, clock);
    client = new ApiClient({ baseUrl: api.url });
    sink = new HttpPackSink();
  });
  afterAll(async () => {
    await sink.close();
    await client.close();
    await api.stop();
  });

  const fresh = (): string => `resource-${String(names++)}`;
  const publisher = (): Promise<Account> => api.account('ResourceUploader');
  const publish = (
    { token }: Account,
    name: string,
    content: Uint8Array,
    to: PackSink = sink,
    folder = 'models',
  ): Promise<PublishResult> =>
    new PublishResource(new HttpUploadApi(client, fixedToken(token)), to, {
      retry: { attempts: 1, baseDelayMs: 1, maxDelayMs: 1 },
    }).run({ resource: { folder, name }, kind: 'file', content: Readable.from([content]), maxBytes: 100 * MIB });
  const committed = async (name: string): Promise<unknown[]> => {
    const { json } = await api.call('GET', `/audit?event=version.committed&limit=200`, {
      token: api.administrator.token,
    });
    const events = json.events as { subject: string; details: Record<string, unknown> }[];
    return events.filter(({ subject }) => subject === `models/${name}`).map(({ details }) => details);
  };

  const packsOf = (name: string): Promise<{ id: string; state: string; size_bytes: number }[]> =>
    api.infrastructure.database.queries
      .selectFrom('packs')
      .innerJoin('folders', 'folders.id', 'packs.folder_id')
      .select(['packs.id', 'packs.state', 'packs.size_bytes'])
      .where('folders.name', '=', `at-once-${name}`)
      .orderBy('packs.state')
      .execute();
  const stored = async (name: string): Promise<string[]> => {
    const { id } = await api.infrastructure.database.queries
      .selectFrom('folders')
      .select('id')
      .where('name', '=', `at-once-${name}`)
      .executeTakeFirstOrThrow();
    return readdir(join(api.directory, 'objects', 'packs', id));
  };

  /** Runs both, each of which waits with its first pack until the other has sealed its own: neither can reuse what the other sends. */
  const bothAtOnce = async (accounts: readonly [Account, Account], name: string, content: Uint8Array) => {
    let sealed = 0;
    let release: () => void = () => undefined;
    const both = new Promise<void>((resolve) => (release = resolve));
    const waiting = (): PackSink =>
      new WatchedSink(sink, async () => {
        if (++sealed === 2) release();
        await both;
      });
    return Promise.all(accounts.map((account) => publish(account, name, content, waiting(), `at-once-${name}`)));
  };

  describe('the figures of a publish', () => {
    it('add up to the byte, in the result and in the audit log', async () => {
      const account = await publisher();
      const name = fresh();
      const first = pseudoRandomBytes('figures', 3 * MIB);
      const inserted = pseudoRandomBytes('inserted', 1000);
      // The second has a middle that is new, and an end that stands in it twice.
      const end = first.subarray(2 * MIB);
      const second = Buffer.concat([first.subarray(0, MIB), inserted, first.subarray(MIB), end]);
      const [before, after] = [chunksOf(first), chunksOf(second)];
      const added = [...after].filter(([id]) => !before.has(id)).map(([, sizeBytes]) => sizeBytes);
      expect(added.length).toBeGreaterThan(0);

      const wanted = [
        { version: 1, bytes: first.length, new: [...before.values()] },
        { version: 2, bytes: second.length, new: added },
      ].map(({ version, bytes, new: sizes }) => ({
        version,
        bytes,
        newBytes: sum(sizes),
        dedupedBytes: bytes - sum(sizes),
        // Random bytes are stored as they are.
        uploadedBytes: sum(sizes) + sizes.length * CHUNK_OVERHEAD_BYTES,
      }));
      expect(await publish(account, name, first)).toMatchObject(wanted[0]!);
      expect(await publish(account, name, second)).toMatchObject(wanted[1]!);
      expect(await committed(name)).toEqual(
        wanted.toReversed().map(({ version, bytes, newBytes, dedupedBytes, uploadedBytes }) => ({
          version,
          scope: 'fleet',
          totalBytes: bytes,
          newBytes,
          reusedBytes: dedupedBytes,
          sentBytes: uploadedBytes,
        })),
      );
      expect(await publish(account, name, second)).toMatchObject({
        version: 2,
        created: false,
        newBytes: 0,
        dedupedBytes: second.length,
        uploadedBytes: 0,
      });
    });

    it('count what an interrupted publish has sent as sent: nothing of it is sent again', async () => {
      const account = await publisher();
      const name = fresh();
      const content = pseudoRandomBytes('interrupted', 3 * MIB);
      // Packs of the Admin API's size would hold all of it: the publisher is told of smaller ones.
      const api1 = new (class extends HttpUploadApi {
        override async open(...args: Parameters<HttpUploadApi['open']>) {
          return { ...(await super.open(...args)), packTargetBytes: 500_000 };
        }
      })(client, fixedToken(account.token));
      const run = (to: PackSink): Promise<PublishResult> =>
        new PublishResource(api1, to, { retry: { attempts: 1, baseDelayMs: 1, maxDelayMs: 1 } }).run({
          resource: { folder: 'models', name },
          kind: 'file',
          content: Readable.from([content]),
          maxBytes: 100 * MIB,
        });
      const arrived: number[] = [];
      let threeArrived: () => void = () => undefined;
      const three = new Promise<void>((resolve) => (threeArrived = resolve));
      const dying = new (class extends PackSink {
        private puts = 0;
        override async put(...[target, parts, ...rest]: Parameters<PackSink['put']>): Promise<void> {
          if (++this.puts > 3) {
            await three;
            throw new ResourceError('pack.unavailable', 'The store went away.');
          }
          await sink.put(target, parts, ...rest);
          if (arrived.push(sizeOf(parts)) === 3) threeArrived();
        }
      })();
      await expect(run(dying)).rejects.toMatchObject({ code: 'pack.unavailable' });
      const sentAgain: number[] = [];
      const result = await run(new WatchedSink(sink, (sizeBytes) => void sentAgain.push(sizeBytes)));
      const chunks = chunksOf(content);
      const sealedBytes = content.length + chunks.size * CHUNK_OVERHEAD_BYTES;
      expect(arrived).toHaveLength(3);
      expect(sum(arrived) + sum(sentAgain)).toBe(sealedBytes);
      expect(result).toMatchObject({ version: 1, uploadedBytes: sum(sentAgain) });
      expect(result.newBytes + result.dedupedBytes).toBe(content.length);
    });
  });

  describe('two publishes of the same bytes at once', () => {
    it('of one publisher make one version; what the other sent waits to be collected', async () => {
      const account = await publisher();
      const name = fresh();
      const results = await bothAtOnce([account, account], name, pseudoRandomBytes('same publisher', 2 * MIB));
      expect(results.map(({ version }) => version)).toEqual([1, 1]);
      expect(results.map(({ created }) => created).toSorted()).toEqual([false, true]);
      expect((await packsOf(name)).map(({ state }) => state)).toEqual(['live', 'uploading']);
    });

    it('of two publishers make two versions, each whole and each with its own packs', async () => {
      const accounts = [await publisher(), await publisher()] as const;
      const name = fresh();
      const content = pseudoRandomBytes('two publishers', 2 * MIB);
      const results = await bothAtOnce(accounts, name, content);
      expect(results.map(({ version }) => version).toSorted()).toEqual([1, 2]);
      expect(results.every(({ created, newBytes }) => created && newBytes === content.length)).toBe(true);
      const packs = await packsOf(name);
      expect(packs.map(({ state }) => state)).toEqual(['live', 'live']);
      expect((await stored(name)).toSorted()).toEqual(packs.map(({ id }) => id).toSorted());
      const verifier = api.app.get(VerifyVersions);
      while (await verifier.next());
      const { json } = await api.call('GET', `/sealed/at-once-${name}/${name}`, {
        token: (await publisher()).token,
      });
      const versions = json.versions as { verification: string }[];
      expect(versions.map(({ verification }) => verification)).toEqual(['verified', 'verified']);
    });
  });

  describe('what is not finished', () => {
    const tooMany = (answer: Answer, exceeded: string): void => {
      expect({ status: answer.status, code: answer.json.code, exceeded: answer.json.exceeded }).toEqual({
        status: 409,
        code: 'upload.too-many-drafts',
        exceeded,
      });
    };
    const announce = (upload: DraftUpload, sizeBytes: number): Promise<Answer> =>
      upload.call('POST', '/packs', {
        sizeBytes,
        sha256: toBase64Url(new Uint8Array(32)),
        md5: toBase64Url(createHash('md5').digest()),
      });

    it('is so many uploads of one publisher and no more, until one is given up', async () => {
      const account = await publisher();
      const open = (): Promise<Answer> =>
        api.call('POST', `/sealed/models/${fresh()}/uploads`, { token: account.token, body: {} });
      const uploads: Answer[] = [];
      for (let count = 0; count < MAX_UPLOADS; count++) uploads.push(await open());
      tooMany(await open(), 'uploads');
      const other = await publisher();
      expect((await api.call('POST', '/sealed/models/other/uploads', { token: other.token, body: {} })).status).toBe(
        201,
      );
      const { uploadId } = uploads[0]!.json as { uploadId: string };
      await api.call('DELETE', `/sealed/uploads/${uploadId}`, { token: account.token });
      expect((await open()).status).toBe(201);
      tooMany(await open(), 'uploads');
    });

    it('is so many bytes of packs over all uploads of a publisher; what is committed does not count', async () => {
      const account = await publisher();
      const upload = await DraftUpload.open(api, account, `models/${fresh()}`);
      const other = await DraftUpload.open(api, account, `models/${fresh()}`);
      const pack = await upload.pack(pseudoRandomBytes('draft', 100_000));
      expect((await announce(other, MAX_BYTES - pack.sizeBytes)).status).toBe(201);
      tooMany(await announce(upload, 1), 'packBytes');
      tooMany(await announce(other, 1), 'packBytes');
      expect((await upload.commit(upload.draft(pack))).status).toBe(201);
      expect((await announce(other, pack.sizeBytes)).status).toBe(201);
      tooMany(await announce(other, 1), 'packBytes');
    });

    it('counts a pack as 64 KiB at least, however short it is', async () => {
      const upload = await DraftUpload.open(api, await publisher(), `models/${fresh()}`);
      expect((await announce(upload, MAX_BYTES - 128 * 1024)).status).toBe(201);
      expect((await announce(upload, 1)).status).toBe(201);
      tooMany(await announce(upload, 64 * 1024 + 1), 'packBytes');
      expect((await announce(upload, 1)).status).toBe(201);
      tooMany(await announce(upload, 1), 'packBytes');
    });

    it('is so many rows of chunk tables; a table that is replaced counts once', async () => {
      const account = await publisher();
      const [one, two] = [
        await DraftUpload.open(api, account, `models/${fresh()}`),
        await DraftUpload.open(api, account, `models/${fresh()}`),
      ];
      const table = (rows: number): Uint8Array => {
        const bytes = Buffer.alloc(rows * 24);
        for (let row = 0; row < rows; row++) {
          bytes.writeUInt32BE(row, row * 24);
          bytes.writeUInt32BE(row * 30, row * 24 + 16);
          bytes.writeUInt32BE(30, row * 24 + 20);
        }
        return new Uint8Array(bytes);
      };
      const [first, second] = [(await announce(one, MIB)).json.packId, (await announce(two, MIB)).json.packId];
      const register = (upload: DraftUpload, packId: string, rows: number): Promise<Answer> =>
        upload.call('PUT', `/packs/${packId}/chunks`, table(rows));
      expect((await register(one, first as string, 400)).status).toBe(204);
      expect((await register(two, second as string, 112)).status).toBe(204);
      tooMany(await register(two, second as string, 113), 'chunks');
      expect((await register(one, first as string, 300)).status).toBe(204);
      expect((await register(two, second as string, 212)).status).toBe(204);
    });

    it('is so many bytes of segments; a segment that is replaced counts once, one of an upload that was given up not at all', async () => {
      const account = await publisher();
      const [one, two] = [
        await DraftUpload.open(api, account, `models/${fresh()}`),
        await DraftUpload.open(api, account, `models/${fresh()}`),
      ];
      const put = (upload: DraftUpload, index: number, sizeBytes: number): Promise<Answer> =>
        upload.call('PUT', `/segments/chunks/${String(index)}`, new Uint8Array(sizeBytes));
      expect((await put(one, 0, 40_000)).status).toBe(204);
      expect((await put(two, 0, 25_536)).status).toBe(204);
      tooMany(await put(two, 1, 100), 'segmentBytes');
      expect((await put(one, 0, 39_000)).status).toBe(204);
      expect((await put(two, 1, 1000)).status).toBe(204);
      tooMany(await put(two, 2, 100), 'segmentBytes');
      await one.call('DELETE', '');
      expect((await put(two, 2, 100)).status).toBe(204);
    });
  });

  describe('days later', () => {
    let impatient: Account;
    let sentTwice: string;
    beforeAll(async () => {
      impatient = await publisher();
      for (let count = 0; count < MAX_UPLOADS; count++)
        await api.call('POST', `/sealed/models/${fresh()}/uploads`, { token: impatient.token, body: {} });
      sentTwice = fresh();
      const account = await publisher();
      await bothAtOnce([account, account], sentTwice, pseudoRandomBytes('sent twice', 2 * MIB));
      expect((await packsOf(sentTwice)).map(({ state }) => state)).toEqual(['live', 'uploading']);
    });

    it('expired uploads count no more, and what nobody committed is gone', async () => {
      clock.advance((UPLOAD_LIFE_SECONDS + 1) * 1000);
      const { json } = await api.logIn(impatient.email, impatient.password);
      const opened = await api.call('POST', '/sealed/models/later/uploads', {
        token: json.access_token as string,
        body: {},
      });
      expect(opened.status).toBe(201);
      const collector = api.app.get(CollectPacks);
      await collector.run();
      clock.advance((CONDEMNED_SECONDS + 1) * 1000);
      await collector.run();
      const packs = await packsOf(sentTwice);
      expect(packs.map(({ state }) => state)).toEqual(['deleted', 'live']);
      expect(await stored(sentTwice)).toEqual([packs[1]!.id]);
    });
  });
});
