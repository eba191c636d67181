/* eslint-disable @typescript-eslint/no-unsafe-assignment, @typescript-eslint/no-unsafe-member-access -- answers are looked into as they come */
import { hash, randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import type { Role } from '@azaion/identity';
import { toBase64Url } from '@azaion/kernel';
import { packObjectKey, ResourceError } from '@azaion/split-resource';
import { softwareRecipient } from '@azaion/split-resource/testing';

import type { Queries } from '../persistence/database.js';
import { TestDevice } from '../testing/device.js';
import { type DraftPack, DraftUpload } from '../testing/draft-upload.js';
import { untilSomethingWaits, whileLocked } from '../testing/lock-waits.js';
import { type Account, type Answer, type StartedApi, startApi } from '../testing/started-api.js';
import { CollectPacks, CONDEMNED_SECONDS } from './collect-packs.js';
import { FolderPolicies } from './folder-policies.js';
import { VerifyVersions } from './verify-versions.js';

describe('what becomes of packs and versions', () => {
  let api: StartedApi;
  let publisher: Account;
  let other: Account;
  let reader: Account;
  let verifier: VerifyVersions;
  let collector: CollectPacks;
  let names = 0;
  beforeAll(async () => {
    api = await startApi();
    publisher = await api.account('ResourceUploader');
    other = await api.account('ResourceUploader');
    reader = await api.account('Operator');
    verifier = api.app.get(VerifyVersions);
    collector = api.app.get(CollectPacks);
  });
  afterAll(async () => {
    await api.stop();
  });

  const fresh = (): string => `resource-${String(names++)}`;
  const verify = async (): Promise<void> => {
    while (await verifier.next());
  };
  const committed = async (account: Pick<Account, 'token'> = publisher, path = `models/${fresh()}`) => {
    const upload = await DraftUpload.open(api, account, path);
    const pack = await upload.pack(randomBytes(40_000), randomBytes(50_000));
    expect((await upload.commit(upload.draft(pack))).status).toBe(201);
    return { path, upload, pack };
  };
  const asAdministrator = (method: string, path: string, body: unknown = {}): Promise<Answer> =>
    api.call(method, `/sealed/${path}`, { token: api.administrator.token, body });
  const offered = async (account: Account, pack: DraftPack, path = `models/${fresh()}`): Promise<number> => {
    const upload = await DraftUpload.open(api, account, path);
    return ((await upload.known(pack.chunks.map(({ id }) => id))).json as unknown[]).length;
  };
  const stateOf = async ({ packId }: DraftPack): Promise<string> => {
    const on = api.infrastructure.database.queries;
    return (await on.selectFrom('packs').select('state').where('id', '=', packId).executeTakeFirstOrThrow()).state;
  };
  const isStored = async (upload: DraftUpload, { packId }: DraftPack): Promise<boolean> =>
    (await api.infrastructure.objects.head(packObjectKey(upload.opened.folderId as string, packId))) !== undefined;
  const damage = async (upload: DraftUpload, { packId, chunks }: DraftPack, chunk: number): Promise<void> => {
    const key = packObjectKey(upload.opened.folderId as string, packId);
    const file = join(api.directory, 'objects', ...key.split('/'));
    const bytes = await readFile(file);
    const at = chunks[chunk]!.offset + 40;
    bytes[at] = (bytes[at] ?? 0) ^ 1;
    await writeFile(file, bytes);
  };
  const grant = (token: string, path: string, body: object = {}): Promise<Answer> =>
    api.call('POST', `/sealed/${path}/grants`, {
      token,
      body: {
        recipientPublicKey: toBase64Url(softwareRecipient().point),
        nonce: toBase64Url(randomBytes(16)),
        ...body,
      },
    });
  const claimsOf = (jws: unknown): Record<string, unknown> =>
    JSON.parse(Buffer.from(String(jws).split('.')[1] ?? '', 'base64url').toString()) as Record<string, unknown>;
  const versionsOf = async (path: string): Promise<{ version: number; state: string; verification: string }[]> =>
    (await api.call('GET', `/sealed/${path}`, { token: api.administrator.token })).json.versions as never;

  describe('known chunks of others', () => {
    it('are offered once the verifier has passed them, and a commit may name them then, not before', async () => {
      const { pack } = await committed();
      expect(await offered(other, pack)).toBe(0);
      const early = await DraftUpload.open(api, other, `models/${fresh()}`);
      expect((await early.commit(early.draft(pack))).json.code).toBe('upload.refused');
      await verify();
      expect(await offered(other, pack)).toBe(2);
      const late = await DraftUpload.open(api, other, `models/${fresh()}`);
      expect((await late.commit(late.draft(pack))).status).toBe(201);
    });

    it('are not those that were registered beside them and never checked', async () => {
      const upload = await DraftUpload.open(api, publisher, `models/${fresh()}`);
      const pack = await upload.pack(randomBytes(40_000), randomBytes(50_000));
      const part = upload.draft(pack);
      part.chunks.pop();
      part.sha256 = hash('sha256', pack.chunks[0]!.content, 'buffer');
      expect((await upload.commit(part)).status).toBe(201);
      await verify();
      expect(await offered(other, pack)).toBe(1);
      const naming = await DraftUpload.open(api, other, `models/${fresh()}`);
      expect((await naming.commit(naming.draft(pack))).json.code).toBe('upload.refused');
    });

    it('of another folder are not known, nor any where the caller may not read', async () => {
      const { pack } = await committed(publisher, `closed/${fresh()}`);
      await verify();
      expect(await offered(other, pack, `models/${fresh()}`)).toBe(0);
      expect(await offered(other, pack, `closed/${fresh()}`)).toBe(2);
      const policies = api.app.get(FolderPolicies);
      const policy = { ...(await policies.of('closed')), read: ['ApiAdmin'] as Role[] };
      await policies.replace('closed', policy, { id: 'test', address: '' });
      expect(await offered(other, pack, `closed/${fresh()}`)).toBe(0);
      const naming = await DraftUpload.open(api, other, `closed/${fresh()}`);
      expect((await naming.commit(naming.draft(pack))).json.code).toBe('upload.refused');
      expect(await offered(publisher, pack, `closed/${fresh()}`)).toBe(2); // its own
    });
  });

  describe('a report of a bad chunk', () => {
    const report = (account: Account, path: string, chunk: unknown, version: number | string = 1): Promise<Answer> =>
      api.call('POST', `/sealed/${path}/versions/${String(version)}/bad-chunk`, {
        token: account.token,
        body: { chunk },
      });

    it('changes nothing by itself, and nothing when the chunk is good', async () => {
      const { path, pack } = await committed();
      await verify();
      for (const chunk of [0, 1, 2, 10_000_000]) expect((await report(reader, path, chunk)).status).toBe(202);
      expect(await offered(other, pack)).toBe(2);
      await verify();
      expect(await offered(other, pack)).toBe(2);
      expect((await versionsOf(path))[0]).toMatchObject({ verification: 'verified' });
    });

    it('withdraws the chunk when it is bad; the next publish of the same bytes replaces it', async () => {
      const { path, upload, pack } = await committed();
      await verify();
      const shared = await DraftUpload.open(api, other, `models/${fresh()}`);
      expect((await shared.commit(shared.draft(pack))).status).toBe(201);
      await verify();
      await damage(upload, pack, 1);
      const prepared = await DraftUpload.open(api, publisher, path);
      expect((await prepared.known(pack.chunks.map(({ id }) => id))).json).toHaveLength(2);
      expect((await report(reader, path, 1)).status).toBe(202);
      await verify();
      expect((await versionsOf(path))[0]).toMatchObject({ verification: 'bad', verified: false });
      expect(await offered(publisher, pack)).toBe(1);
      expect(await offered(other, pack)).toBe(1);
      const { status, json } = await prepared.commit(prepared.draft(pack));
      expect({ status, code: json.code, packIds: json.packIds }).toEqual({
        status: 409,
        code: 'upload.pack-gone',
        packIds: [pack.packId],
      });
      const repair = await DraftUpload.open(api, publisher, path);
      const again = await repair.pack(...pack.chunks.map(({ content }) => content));
      expect((await repair.commit(repair.draft(again))).json).toEqual({ version: 2 });
      await verify();
      expect((await versionsOf(path)).map(({ verification }) => verification)).toEqual(['verified', 'bad']);
      expect(await offered(other, pack)).toBe(2);
    });

    it.each([
      ['no number', 'x', 1, 400],
      ['a negative number', -1, 1, 400],
      ['a number beyond all', 67_108_864, 1, 400],
      ['a version that does not exist', 0, 7, 404],
      ['no version', 0, 'x', 400],
    ])('with %s is refused', async (_name, chunk, version, status) => {
      const { path } = await committed();
      expect((await report(reader, path, chunk, version)).status).toBe(status);
    });

    it('is for readers, and few wait at a time', async () => {
      const { path, upload } = await committed();
      expect((await report(await api.account('None'), path, 0)).status).toBe(403);
      for (let chunk = 0; chunk < 70; chunk++) await report(reader, path, chunk);
      const rows = await api.infrastructure.database.queries
        .selectFrom('chunk_reports')
        .select('chunk')
        .where('resource_id', '=', upload.opened.resourceId as string)
        .execute();
      expect(rows).toHaveLength(64);
      await verify();
    });
  });

  it.each(['upwards', 'downwards'])(
    'are locked by a commit in one order, also when it names them %s: no two commits wait for each other',
    async (order) => {
      const packs = [(await committed()).pack, (await committed()).pack].sort((one, two) =>
        one.packId < two.packId ? -1 : 1,
      );
      const [low, high] = packs as [DraftPack, DraftPack];
      const upload = await DraftUpload.open(api, publisher, `models/${fresh()}`);
      const commit = await upload.handIn(upload.draft(...(order === 'upwards' ? packs : packs.toReversed())));
      const lock = (on: Queries, id: string) => on.selectFrom('packs').select('id').where('id', '=', id).forUpdate();
      const waiting = await whileLocked(
        api,
        (holder) => lock(holder, low.packId).execute(),
        async () => {
          const committing = upload.call('POST', '/commit', commit);
          await untilSomethingWaits(api);
          // Who waits for the first one holds none that comes after it.
          await lock(api.infrastructure.database.queries, high.packId).noWait().execute();
          return { committing };
        },
      );
      expect((await waiting.committing).status).toBe(201);
    },
  );

  describe('the collection', () => {
    const withdraw = async (path: string, version = 1): Promise<void> => {
      expect((await asAdministrator('POST', `${path}/versions/${String(version)}/withdraw`)).status).toBe(204);
    };
    /** As if the packs that are condemned now had been so for long. */
    const letTimePass = async (): Promise<void> => {
      const long = new Date(Date.now() - CONDEMNED_SECONDS * 1000);
      await api.infrastructure.database.queries
        .updateTable('packs')
        .set({ condemned_at: long })
        .where('state', '=', 'condemned')
        .execute();
    };
    const expire = async (upload: DraftUpload): Promise<void> => {
      await api.infrastructure.database.queries
        .updateTable('uploads')
        .set({ expires_at: new Date(0) })
        .where('id', '=', upload.id)
        .execute();
    };

    it('condemns what no live version needs, and deletes it and its object after the wait only', async () => {
      const { path, upload, pack } = await committed();
      const kept = await committed();
      await collector.run();
      expect(await stateOf(pack)).toBe('live');
      await withdraw(path);
      await collector.run();
      expect(await stateOf(pack)).toBe('condemned');
      await collector.run();
      expect([await stateOf(pack), await isStored(upload, pack)]).toEqual(['condemned', true]);
      await letTimePass();
      await collector.run();
      expect([await stateOf(pack), await isStored(upload, pack)]).toEqual(['deleted', false]);
      expect([await stateOf(kept.pack), await isStored(kept.upload, kept.pack)]).toEqual(['live', true]);
      expect(await offered(publisher, pack)).toBe(0);
    });

    it('leaves what another live version needs', async () => {
      const { path, pack } = await committed();
      const second = await DraftUpload.open(api, publisher, `models/${fresh()}`);
      expect((await second.commit(second.draft(pack))).status).toBe(201);
      await withdraw(path);
      await collector.run();
      expect(await stateOf(pack)).toBe('live');
    });

    it('leaves what known-chunks has named to an open upload, until it expires', async () => {
      const { path, pack } = await committed();
      const upload = await DraftUpload.open(api, publisher, `models/${fresh()}`);
      await upload.known([pack.chunks[0]!.id]);
      await withdraw(path);
      await collector.run();
      expect(await stateOf(pack)).toBe('live');
      await expire(upload);
      await collector.run();
      expect(await stateOf(pack)).toBe('condemned');
    });

    it('keeps a condemned pack that was named in the meantime; its commit revives it', async () => {
      const { path, upload: first, pack } = await committed();
      await withdraw(path);
      await collector.run();
      const upload = await DraftUpload.open(api, publisher, `models/${fresh()}`);
      expect((await upload.known(pack.chunks.map(({ id }) => id))).json).toHaveLength(2);
      await letTimePass();
      await collector.run();
      expect(await stateOf(pack)).toBe('condemned');
      expect((await upload.commit(upload.draft(pack))).status).toBe(201);
      await collector.run();
      expect([await stateOf(pack), await isStored(first, pack)]).toEqual(['live', true]);
    });

    it('answers a commit that comes too late with upload.pack-gone and the list', async () => {
      const { path, pack } = await committed();
      const upload = await DraftUpload.open(api, publisher, `models/${fresh()}`);
      await withdraw(path);
      await collector.run();
      await letTimePass();
      await collector.run();
      const { status, json } = await upload.commit(upload.draft(pack));
      expect({ status, code: json.code, packIds: json.packIds }).toEqual({
        status: 409,
        code: 'upload.pack-gone',
        packIds: [pack.packId],
      });
    });

    it('keeps packs of an interrupted upload while it lives and the wait after that', async () => {
      const upload = await DraftUpload.open(api, publisher, `models/${fresh()}`);
      const pack = await upload.pack(randomBytes(1000));
      const bare = await upload.announce(randomBytes(1000)); // never written
      await collector.run();
      expect([await stateOf(pack), await stateOf(bare)]).toEqual(['uploading', 'uploading']);
      await expire(upload);
      await collector.run();
      expect([await stateOf(pack), await stateOf(bare)]).toEqual(['condemned', 'condemned']);
      expect(await offered(publisher, pack)).toBe(1); // and is pinned by that upload
      await letTimePass();
      await collector.run();
      expect([await stateOf(pack), await stateOf(bare)]).toEqual(['condemned', 'deleted']);
    });

    it('empties sparse packs: what a live version needs of them is offered no more, and moves with the next publish', async () => {
      const contents = Array.from({ length: 5 }, () => randomBytes(40_000));
      const path = `models/${fresh()}`;
      const first = await DraftUpload.open(api, publisher, path);
      const dense = await first.pack(...contents);
      expect((await first.commit(first.draft(dense))).status).toBe(201);
      const second = await DraftUpload.open(api, publisher, path);
      const part = second.draft(dense);
      part.chunks.splice(1);
      part.sha256 = hash('sha256', contents[0]!, 'buffer');
      expect((await second.commit(part)).json).toEqual({ version: 2 });
      await collector.run();
      expect(await offered(publisher, dense)).toBe(5); // version 1 needs all of it
      await withdraw(path, 1);
      await collector.run();
      expect([await stateOf(dense), await offered(publisher, dense)]).toEqual(['live', 0]);
      const third = await DraftUpload.open(api, publisher, path);
      expect((await third.commit({ ...third.draft(dense), chunks: [...part.chunks, ...part.chunks] })).status).toBe(
        201,
      ); // it may be named
      await withdraw(path, 3);
      const fourth = await DraftUpload.open(api, publisher, path);
      const moved = await fourth.pack(contents[0]!, contents[1]!);
      expect((await fourth.commit(fourth.draft(moved))).status).toBe(201);
      await withdraw(path, 2);
      await api.infrastructure.database.queries.deleteFrom('pack_pins').where('pack_id', '=', dense.packId).execute();
      await collector.run();
      expect([await stateOf(dense), await stateOf(moved)]).toEqual(['condemned', 'live']);
    });

    it('tries again where the object store did not delete', async () => {
      const { path, upload, pack } = await committed();
      await withdraw(path);
      await collector.run();
      await letTimePass();
      const { objects } = api.infrastructure;
      const remove = objects.delete.bind(objects);
      objects.delete = () => Promise.reject(new ResourceError('cdn.unavailable', 'The store is away.'));
      try {
        await expect(collector.run()).rejects.toMatchObject({ code: 'cdn.unavailable' });
      } finally {
        objects.delete = remove;
      }
      expect([await stateOf(pack), await isStored(upload, pack)]).toEqual(['deleted', true]);
      expect((await collector.run()).purged).toBeGreaterThanOrEqual(1);
      expect(await isStored(upload, pack)).toBe(false);
    });

    it('deletes the others where the object store does not delete one, and says so at the end', async () => {
      const both = [await committed(), await committed()];
      for (const { path } of both) await withdraw(path);
      await collector.run();
      await letTimePass();
      const [stuck, other] = both.toSorted((left, right) => (left.pack.packId < right.pack.packId ? -1 : 1));
      const { objects } = api.infrastructure;
      const remove = objects.delete.bind(objects);
      objects.delete = (key) =>
        key.endsWith(stuck!.pack.packId)
          ? Promise.reject(new ResourceError('cdn.unavailable', 'The store is away.'))
          : remove(key);
      try {
        await expect(collector.run()).rejects.toMatchObject({ code: 'cdn.unavailable' });
      } finally {
        objects.delete = remove;
      }
      expect(await isStored(stuck!.upload, stuck!.pack)).toBe(true);
      expect(await isStored(other!.upload, other!.pack)).toBe(false);
      expect((await collector.run()).purged).toBe(1);
      expect(await isStored(stuck!.upload, stuck!.pack)).toBe(false);
    });

    it('takes a pack away between the look at the object store and the transaction: the commit says so', async () => {
      const { path, pack } = await committed();
      await withdraw(path);
      await collector.run();
      await letTimePass();
      const upload = await DraftUpload.open(api, publisher, `models/${fresh()}`);
      const { objects } = api.infrastructure;
      const head = objects.head.bind(objects);
      let collected = 0;
      objects.head = async (key) => {
        const found = await head(key);
        if (collected++ === 0) await collector.run();
        return found;
      };
      try {
        expect((await upload.commit(upload.draft(pack))).json.code).toBe('upload.pack-gone');
      } finally {
        objects.head = head;
      }
      expect(collected).toBe(1);
    });
  });

  describe('a folder with a quota', () => {
    const withQuota = async (quotaBytes: number): Promise<string> => {
      const folder = `quota-${String(names++)}`;
      const policies = api.app.get(FolderPolicies);
      await policies.replace(folder, { ...(await policies.of(folder)), quotaBytes }, { id: 'test', address: '' });
      return folder;
    };

    it('refuses a pack beyond it before anything is sent, and takes one that fits exactly', async () => {
      const upload = await DraftUpload.open(api, publisher, `${await withQuota(1000)}/x`);
      const announce = (sizeBytes: number): Promise<Answer> =>
        upload.call('POST', '/packs', {
          sizeBytes,
          sha256: toBase64Url(randomBytes(32)),
          md5: toBase64Url(randomBytes(16)),
        });
      const refused = await announce(1001);
      expect({ status: refused.status, code: refused.json.code }).toEqual({
        status: 413,
        code: 'upload.quota-exceeded',
      });
      expect((await announce(1000)).status).toBe(201);
      expect((await announce(1)).status).toBe(413);
    });

    it('is kept by commits at the same moment, and does not count what is condemned', async () => {
      const folder = await withQuota(200_000);
      const uploads = await Promise.all(
        ['a', 'b', 'c'].map((name) => DraftUpload.open(api, publisher, `${folder}/${name}`)),
      );
      const packs: DraftPack[] = [];
      for (const upload of uploads) packs.push(await upload.pack(randomBytes(60_000)));
      const policies = api.app.get(FolderPolicies);
      const smaller = { ...(await policies.of(folder)), quotaBytes: 130_000 };
      await policies.replace(folder, smaller, { id: 'test', address: '' });
      const answers = await Promise.all(uploads.map((upload, at) => upload.commit(upload.draft(packs[at]!))));
      expect(answers.map(({ status }) => status).sort()).toEqual([201, 201, 413]);
      const done = answers.findIndex(({ status }) => status === 201);
      const late = answers.findIndex(({ status }) => status === 413);
      const again = await DraftUpload.open(api, publisher, `${folder}/again`);
      expect((await again.commit(again.draft(packs[done]!))).status).toBe(201); // adds nothing
      for (const name of [['a', 'b', 'c'][done]!, 'again'])
        expect((await asAdministrator('POST', `${folder}/${name}/versions/1/withdraw`)).status).toBe(204);
      await collector.run();
      expect((await uploads[late]!.commit(uploads[late]!.draft(packs[late]!))).status).toBe(201);
    });
  });

  describe('an administrator', () => {
    it.each(['promote', 'withdraw'])('alone may %s a version', async (what) => {
      const { path } = await committed();
      for (const { token } of [publisher, reader])
        expect((await api.call('POST', `/sealed/${path}/versions/1/${what}`, { token, body: {} })).json.code).toBe(
          'role.forbidden',
        );
      for (const version of ['2', '2147483647'])
        expect((await asAdministrator('POST', `${path}/versions/${version}/${what}`)).status).toBe(404);
      for (const version of ['0', 'x', '2147483648'])
        expect((await asAdministrator('POST', `${path}/versions/${version}/${what}`)).status).toBe(400);
      expect((await asAdministrator('POST', `nowhere/nothing/versions/1/${what}`)).status).toBe(404);
    });

    it('promotes what a device published: the same version, for all, and once', async () => {
      const device = await TestDevice.enrolled(api);
      const stranger = await TestDevice.enrolled(api);
      const { path } = await committed({ token: await device.token() }, `engines/${fresh()}`);
      const own = { recipientPublicKey: toBase64Url(device.agreement.point) };
      const foreign = { recipientPublicKey: toBase64Url(stranger.agreement.point) };
      const before = await grant(await device.token(), path, own);
      expect(before.status).toBe(201);
      expect((await grant(reader.token, path)).status).toBe(404);
      expect((await grant(await stranger.token(), path, foreign)).status).toBe(404);
      expect((await asAdministrator('POST', `${path}/pin`, { version: 1 })).json.code).toBe('version.device-scope');
      for (let repeat = 0; repeat < 2; repeat++)
        expect((await asAdministrator('POST', `${path}/versions/1/promote`)).status).toBe(204);
      for (const after of [await grant(reader.token, path), await grant(await stranger.token(), path, foreign)]) {
        expect(after.status).toBe(201);
        expect(claimsOf(after.json.statement)).toEqual({ ...claimsOf(before.json.statement), scope: 'fleet' });
      }
      const events = await api.infrastructure.database.queries
        .selectFrom('audit_events')
        .select('event')
        .where('subject', '=', path)
        .where('event', '=', 'version.promoted')
        .execute();
      expect(events).toHaveLength(1);
    });

    it('withdraws a version: its grants end, the one before it is the newest, its number is not used again', async () => {
      const { path, upload, pack } = await committed();
      const next = await DraftUpload.open(api, publisher, path);
      const more = await next.pack(randomBytes(3000));
      expect((await next.commit(next.draft(more))).json).toEqual({ version: 2 });
      const held = (await grant(reader.token, path)).json.grantId as string;
      for (let repeat = 0; repeat < 2; repeat++)
        expect((await asAdministrator('POST', `${path}/versions/2/withdraw`)).status).toBe(204);
      expect((await grant(reader.token, path, { version: 2 })).status).toBe(404);
      expect((await api.call('GET', `/sealed/grants/${held}/segments/root/0`, { token: reader.token })).status).toBe(
        404,
      );
      expect(claimsOf((await grant(reader.token, path)).json.statement)).toMatchObject({ version: 1 });
      expect((await asAdministrator('POST', `${path}/versions/2/promote`)).json.code).toBe('version.withdrawn');
      expect((await asAdministrator('POST', `${path}/pin`, { version: 2 })).json.code).toBe('version.withdrawn');
      const third = await DraftUpload.open(api, publisher, path);
      const again = await third.pack(...more.chunks.map(({ content }) => content));
      expect((await third.commit(third.draft(again))).json).toEqual({ version: 3 });
      expect((await versionsOf(path)).map(({ state }) => state)).toEqual(['live', 'withdrawn', 'live']);
      expect([await stateOf(pack), await isStored(upload, pack)]).toEqual(['live', true]);
    });

    it('signs into every grant the oldest version that is not withdrawn, which never falls', async () => {
      const { path } = await committed();
      for (let version = 2; version <= 4; version++) {
        const upload = await DraftUpload.open(api, publisher, path);
        await upload.commit(upload.draft(await upload.pack(randomBytes(3000))));
      }
      const lowest = async (version?: number): Promise<unknown> =>
        claimsOf((await grant(reader.token, path, { version })).json.grantToken).minVersion;
      expect([await lowest(), await lowest(1)]).toEqual([1, 1]);
      const seen: unknown[] = [];
      for (const version of [2, 1, 4]) {
        await asAdministrator('POST', `${path}/versions/${String(version)}/withdraw`);
        seen.push(await lowest());
      }
      expect(seen).toEqual([1, 3, 3]);
    });

    it('does not sign away what another device published and the fleet may get later', async () => {
      const [device, stranger] = [await TestDevice.enrolled(api), await TestDevice.enrolled(api)];
      const path = `engines/${fresh()}`;
      await committed({ token: await device.token() }, path);
      const upload = await DraftUpload.open(api, publisher, path);
      await upload.commit(upload.draft(await upload.pack(randomBytes(3000))));
      const foreign = { recipientPublicKey: toBase64Url(stranger.agreement.point) };
      const before = claimsOf((await grant(await stranger.token(), path, foreign)).json.grantToken);
      expect(before).toMatchObject({ latestVersion: 2, minVersion: 1 });
      await asAdministrator('POST', `${path}/versions/1/promote`);
      const named = await grant(await stranger.token(), path, { ...foreign, version: 1 });
      expect(claimsOf(named.json.grantToken)).toMatchObject({ minVersion: 1 });
    });

    it('pins a resource to a version: requests without one get it, signed as such, until the pin is gone', async () => {
      const { path } = await committed();
      const next = await DraftUpload.open(api, publisher, path);
      expect((await next.commit(next.draft(await next.pack(randomBytes(3000))))).json).toEqual({ version: 2 });
      expect((await asAdministrator('POST', `${path}/pin`, { version: 3 })).status).toBe(404);
      expect((await asAdministrator('POST', `${path}/pin`, {})).status).toBe(400);
      expect((await asAdministrator('POST', `${path}/pin`, { version: 1 })).status).toBe(204);
      const pinned = (await grant(reader.token, path)).json;
      expect(claimsOf(pinned.statement)).toMatchObject({ version: 1 });
      expect(claimsOf(pinned.grantToken)).toMatchObject({ pinned: true, latestVersion: 2 });
      const named = (await grant(reader.token, path, { version: 2 })).json;
      expect(claimsOf(named.grantToken)).not.toHaveProperty('pinned');
      expect((await asAdministrator('POST', `${path}/versions/1/withdraw`)).json.code).toBe('version.pinned');
      expect((await api.call('GET', `/sealed/${path}`, { token: reader.token })).json).toMatchObject({
        pinnedVersion: 1,
      });
      for (let repeat = 0; repeat < 2; repeat++)
        expect((await asAdministrator('DELETE', `${path}/pin`)).status).toBe(204);
      expect(claimsOf((await grant(reader.token, path)).json.statement)).toMatchObject({ version: 2 });
    });

    it('rotates a folder’s dedup key: nothing is shared across it, what was there stays readable', async () => {
      const { path, pack } = await committed(publisher, `rotated/${fresh()}`);
      await verify();
      const open = await DraftUpload.open(api, publisher, `rotated/${fresh()}`);
      expect((await api.call('POST', '/sealed/rotated/rotate-dedup-key', { token: publisher.token })).status).toBe(403);
      expect((await asAdministrator('POST', 'nowhere/rotate-dedup-key')).status).toBe(404);
      expect((await asAdministrator('POST', 'rotated/rotate-dedup-key')).json).toEqual({ domain: 1 });
      const after = await DraftUpload.open(api, publisher, path);
      expect(after.opened.domain).toBe(1);
      expect(after.opened.dedupKey).not.toBe(open.opened.dedupKey);
      expect((await after.known(pack.chunks.map(({ id }) => id))).json).toEqual([]);
      expect((await after.commit(after.draft(pack))).status).toBe(422);
      const anew = await after.pack(...pack.chunks.map(({ content }) => content));
      expect(anew.chunks[0]!.id).not.toEqual(pack.chunks[0]!.id);
      expect((await grant(reader.token, path, { version: 1 })).status).toBe(201);
      expect((await open.commit(open.draft(pack))).status).toBe(201); // opened before: in its own domain
    });
  });

  it('lists the folders that the caller may read, with what it may see in them', async () => {
    const folder = `listed-${String(names++)}`;
    await committed(publisher, `${folder}/a`);
    await committed(publisher, `${folder}/b`);
    await committed(publisher, `${folder}/b`);
    await committed(publisher, `${folder}/gone`);
    await asAdministrator('POST', `${folder}/gone/versions/1/withdraw`);
    const listed = async ({ token }: Account): Promise<unknown> => {
      const { json } = await api.call('GET', '/sealed', { token });
      return (json.folders as { name: string }[]).filter(({ name }) => name === folder);
    };
    expect(await listed(reader)).toEqual([{ name: folder, resources: 2 }]);
    const policies = api.app.get(FolderPolicies);
    const policy = { ...(await policies.of(folder)), read: ['ApiAdmin'] as Role[] };
    await policies.replace(folder, policy, { id: 'test', address: '' });
    expect(await listed(reader)).toEqual([]);
  });
});
