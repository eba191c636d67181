/* eslint-disable @typescript-eslint/no-unsafe-assignment, @typescript-eslint/no-unsafe-member-access -- answers are looked into as they come */
import { hash } from 'node:crypto';
import { readdir, readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { packObjectKey, ResourceError } from '@azaion/split-resource';
import { pseudoRandomBytes } from '@azaion/testing';

import { type DraftPack, DraftUpload } from '../testing/draft-upload.js';
import { type Account, type Answer, type StartedApi, startApi } from '../testing/started-api.js';
import { CollectPacks, CONDEMNED_SECONDS } from './collect-packs.js';
import { type Compacted, CompactPacks } from './compact-packs.js';
import { FolderPolicies } from './folder-policies.js';
import { VerifyVersions } from './verify-versions.js';

const CHUNK_BYTES = 40_000;

describe('the compaction of packs', () => {
  let api: StartedApi;
  let publisher: Account;
  let compaction: CompactPacks;
  let collector: CollectPacks;
  let names = 0;
  beforeAll(async () => {
    api = await startApi();
    publisher = await api.account('ResourceUploader');
    compaction = api.app.get(CompactPacks);
    collector = api.app.get(CollectPacks);
  });
  afterAll(async () => {
    await api.stop();
  });

  const queries = () => api.infrastructure.database.queries;
  const rowOf = ({ packId }: DraftPack) =>
    queries().selectFrom('packs').selectAll().where('id', '=', packId).executeTakeFirstOrThrow();
  const asAdministrator = (path: string): Promise<Answer> =>
    api.call('POST', `/sealed/${path}`, { token: api.administrator.token, body: {} });
  const withdraw = async (path: string, version: number): Promise<void> => {
    expect((await asAdministrator(`${path}/versions/${String(version)}/withdraw`)).status).toBe(204);
  };
  /** Makes a version of some chunks of a pack. */
  const commitPart = async (path: string, pack: DraftPack, chunks: readonly number[]): Promise<Answer> => {
    const upload = await DraftUpload.open(api, publisher, path);
    return upload.commit(partOf(upload, pack, chunks));
  };
  const partOf = (upload: DraftUpload, pack: DraftPack, chunks: readonly number[]) => {
    const part = upload.draft(pack);
    part.chunks = chunks.map((index) => part.chunks[index]!);
    part.sha256 = hash('sha256', Buffer.concat(chunks.map((index) => pack.chunks[index]!.content)), 'buffer');
    return part;
  };
  const rangeOf = ({ chunks }: DraftPack, index: number) => {
    const { offset, sealedBytes } = chunks[index]!;
    return { start: offset, end: offset + sealedBytes };
  };
  /** A pack of which live versions need some chunks. */
  const sparse = async (kept: readonly number[] = [2, 7], folder = 'models', chunks = 10) => {
    const path = `${folder}/resource-${String(names++)}`;
    const upload = await DraftUpload.open(api, publisher, path);
    const contents = Array.from({ length: chunks }, (_, index) => pseudoRandomBytes(`${path} ${index}`, CHUNK_BYTES));
    const pack = await upload.pack(...contents);
    expect((await upload.commit(upload.draft(pack))).status).toBe(201);
    expect((await commitPart(path, pack, kept)).json).toEqual({ version: 2 });
    await withdraw(path, 1);
    return { path, upload, pack };
  };
  const stored = (upload: DraftUpload): Promise<string[]> =>
    readdir(join(api.directory, 'objects', 'packs', upload.opened.folderId as string));
  const fileOf = (upload: DraftUpload, objectId: string): string =>
    join(api.directory, 'objects', ...packObjectKey(upload.opened.folderId as string, objectId).split('/'));
  const offered = async ({ chunks }: DraftPack, path: string): Promise<number[]> => {
    const upload = await DraftUpload.open(api, publisher, path);
    const known = (await upload.known(chunks.map(({ id }) => id))).json as { offset: number }[];
    await upload.call('DELETE', '');
    return known.map(({ offset }) => chunks.findIndex((chunk) => chunk.offset === offset)).sort();
  };
  /** As if these objects had been of no use for long. */
  const deleteNow = async (objectIds: readonly string[]): Promise<void> => {
    await queries()
      .updateTable('stale_objects')
      .set({ delete_after: new Date(0) })
      .where('object_id', 'in', [...objectIds])
      .execute();
  };
  /** As if this pack had last been looked at long ago, and every other one just now. */
  const lookAgain = async ({ packId }: DraftPack): Promise<void> => {
    await queries()
      .updateTable('packs')
      .set({ examine_after: new Date(Date.now() + 3600_000) })
      .execute();
    await queries().updateTable('packs').set({ examine_after: null }).where('id', '=', packId).execute();
  };
  const round = async (pack: DraftPack): Promise<Compacted> => {
    await lookAgain(pack);
    return compaction.run();
  };
  const verificationOf = async (path: string): Promise<unknown> => {
    const resources = queries()
      .selectFrom('resources')
      .select('id')
      .where('name', '=', path.split('/')[1] ?? '');
    await queries()
      .updateTable('versions')
      .set({ verification: 'pending', claimed_until: null })
      .where('resource_id', 'in', resources)
      .execute();
    while (await api.app.get(VerifyVersions).next());
    const { json } = await api.call('GET', `/sealed/${path}`, { token: publisher.token });
    return (json.versions as { state: string; verification: string }[]).find(({ state }) => state === 'live')
      ?.verification;
  };
  /** The store as it is while one of its operations fails. */
  const withStore = async <T>(
    change: Partial<Pick<StartedApi['infrastructure']['objects'], 'write' | 'read' | 'delete'>>,
    work: () => Promise<T>,
  ): Promise<T> => {
    const { objects } = api.infrastructure;
    const before = {
      write: objects.write.bind(objects),
      read: objects.read.bind(objects),
      delete: objects.delete.bind(objects),
    };
    Object.assign(objects, change);
    try {
      return await work();
    } finally {
      Object.assign(objects, before);
    }
  };

  it('leaves what live versions need, verified, under the names and offsets of their recipes', async () => {
    const { path, upload, pack } = await sparse();
    const before = await rowOf(pack);
    const [one, two] = [pack.chunks[2]!, pack.chunks[7]!];
    expect(await round(pack)).toEqual({
      compacted: 1,
      freedBytes: pack.sizeBytes - one.sealedBytes - two.sealedBytes,
      left: 0,
    });
    const after = await rowOf(pack);
    expect(after).toMatchObject({
      state: 'live',
      size_bytes: before.size_bytes,
      sha256: before.sha256,
      sparse: false,
      stored_bytes: one.sealedBytes + two.sealedBytes,
      extents: [rangeOf(pack, 2), rangeOf(pack, 7)],
    });
    const object = await readFile(fileOf(upload, after.object_id!));
    expect(object.equals(Buffer.concat([one.sealed, two.sealed]))).toBe(true);
    expect(after.compacted_sha256).toEqual(hash('sha256', object, 'buffer'));
    expect(await verificationOf(path)).toBe('verified');
  });

  it('deletes the older object once no URL and no backup of two days needs it', async () => {
    const { path, upload, pack } = await sparse();
    await round(pack);
    await collector.run();
    expect(await stored(upload)).toContain(pack.packId);
    await deleteNow([pack.packId]);
    await withStore({ delete: () => Promise.reject(new ResourceError('cdn.unavailable', 'The store is away.')) }, () =>
      expect(collector.run()).rejects.toMatchObject({ code: 'cdn.unavailable' }),
    );
    expect(await stored(upload)).toContain(pack.packId);
    await collector.run();
    expect(await stored(upload)).not.toContain(pack.packId);
    expect(await stored(upload)).toContain((await rowOf(pack)).object_id);
    expect(await verificationOf(path)).toBe('verified');
  });

  it('takes for missing what lies behind the end of the new object once a reader reports that it is cut short', async () => {
    const { path, upload, pack } = await sparse([2, 7, 12], 'models', 20);
    expect((await round(pack)).compacted).toBe(1);
    expect(await verificationOf(path)).toBe('verified');
    const { object_id: objectId } = await rowOf(pack);
    await truncate(fileOf(upload, objectId!), pack.chunks[2]!.sealedBytes + 1);
    const report = { token: publisher.token, body: { chunk: 2 } };
    expect((await api.call('POST', `/sealed/${path}/versions/2/bad-chunk`, report)).status).toBe(202);
    while (await api.app.get(VerifyVersions).next());
    const left = await queries()
      .selectFrom('pack_chunks')
      .select(['start_byte', 'good'])
      .where('pack_id', '=', pack.packId)
      .orderBy('start_byte')
      .execute();
    expect(left).toEqual([2, 7, 12].map((index) => ({ start_byte: pack.chunks[index]!.offset, good: index === 2 })));
  });

  it('counts what several versions need once: six that share a tenth of a pack leave it sparse', async () => {
    const { path, pack } = await sparse([3]);
    for (let version = 3; version < 8; version++) {
      // One more chunk of its own each: equal bytes would be the same version.
      const upload = await DraftUpload.open(api, publisher, path);
      const own = await upload.pack(pseudoRandomBytes(`own ${version}`, CHUNK_BYTES));
      const draft = upload.draft(pack, own);
      draft.chunks = [draft.chunks[3]!, draft.chunks.at(-1)!];
      draft.sha256 = hash('sha256', Buffer.concat([pack.chunks[3]!.content, own.chunks[0]!.content]), 'buffer');
      expect((await upload.commit(draft)).json).toEqual({ version });
    }
    expect((await round(pack)).compacted).toBe(1);
    expect((await rowOf(pack)).extents).toHaveLength(1);
    expect(await verificationOf(path)).toBe('verified');
  });

  it('leaves packs of which all versions together need enough, whatever each of them needs', async () => {
    const { path, pack } = await sparse([0, 1]);
    expect((await commitPart(path, pack, [4, 9])).status).toBe(201);
    expect(await round(pack)).toEqual({ compacted: 0, freedBytes: 0, left: 0 });
    expect(await rowOf(pack)).toMatchObject({ object_id: null, sparse: false });
  });

  it('is done again when even less is needed, from the object that there is', async () => {
    const { path, pack } = await sparse([0, 1, 2, 3, 11, 12, 24, 25], 'models', 30);
    expect((await round(pack)).compacted).toBe(1);
    const first = await rowOf(pack);
    expect((await commitPart(path, pack, [12, 1, 25])).status).toBe(201);
    await withdraw(path, 2);
    expect(await round(pack)).toEqual({ compacted: 0, freedBytes: 0, left: 0 }); // three of eight
    expect((await commitPart(path, pack, [12, 1])).status).toBe(201);
    await withdraw(path, 3);
    expect((await round(pack)).compacted).toBe(1);
    const second = await rowOf(pack);
    expect(second.object_id).not.toBe(first.object_id);
    expect(second.extents).toEqual([1, 12].map((index) => rangeOf(pack, index)));
    expect(await verificationOf(path)).toBe('verified');
  });

  describe('offers to publishers', () => {
    it('what is left, from then on', async () => {
      const { path, pack } = await sparse([2, 7]);
      await collector.run();
      expect(await offered(pack, path)).toEqual([]); // sparse
      await round(pack);
      await collector.run();
      expect(await offered(pack, path)).toEqual([2, 7]);
    });

    it('nothing that is gone: a commit that names it gets upload.pack-gone, and what is left can be named', async () => {
      const { path, pack } = await sparse([2, 7]);
      const early = await DraftUpload.open(api, publisher, path);
      await round(pack);
      const { status, json } = await early.commit(partOf(early, pack, [2, 3]));
      expect({ status, code: json.code, packIds: json.packIds }).toEqual({
        status: 409,
        code: 'upload.pack-gone',
        packIds: [pack.packId],
      });
      expect((await commitPart(path, pack, [7, 2])).status).toBe(201);
    });

    it('what it was offered before: a pack is left alone as long as an upload may name it', async () => {
      const { path, pack } = await sparse([2, 7]);
      const upload = await DraftUpload.open(api, publisher, path);
      expect((await upload.known([pack.chunks[3]!.id])).json).toHaveLength(1);
      expect((await round(pack)).compacted).toBe(0);
      expect((await upload.commit(partOf(upload, pack, [3]))).status).toBe(201);
      expect((await rowOf(pack)).object_id).toBeNull();
    });
  });

  describe('gives way to', () => {
    /** Runs a round, and something else between the moment at which the new object is written and that at which the pack takes it. */
    const meanwhile = async (pack: DraftPack, work: () => Promise<unknown>): Promise<Compacted> => {
      const { objects } = api.infrastructure;
      const write = objects.write.bind(objects);
      return withStore(
        {
          write: async (key, bytes) => {
            await write(key, bytes);
            await work();
          },
        },
        () => round(pack),
      );
    };

    it.each<[string, (path: string, pack: DraftPack) => Promise<unknown>]>([
      ['a commit that names other chunks', (path, pack) => commitPart(path, pack, [3])],
      [
        'an upload that is being offered other chunks',
        async (path, { packId }) => {
          const { id } = await DraftUpload.open(api, publisher, path);
          await queries().insertInto('pack_pins').values({ pack_id: packId, upload_id: id }).execute();
        },
      ],
      ['another replica that compacts the same pack', (_path, pack) => round(pack)],
      [
        'the collection, which condemns the pack',
        async (path) => {
          await withdraw(path, 2);
          await collector.run();
        },
      ],
    ])('%s', async (_, work) => {
      const { path, pack } = await sparse([2, 7]);
      let once = 0;
      const result = await meanwhile(pack, async () => {
        if (once++ === 0) await work(path, pack);
      });
      expect(result).toEqual({ compacted: 0, freedBytes: 0, left: 1 });
      if ((await rowOf(pack)).state === 'live') expect(await verificationOf(path)).toBe('verified');
    });
  });

  describe('when a replica dies', () => {
    const dead = new Error('killed');

    it.each<[string, boolean]>([
      ['before the new object is written', false],
      ['after it was written, before the pack takes it', true],
    ])('%s, nothing changes, and what is left behind is deleted', async (_, writes) => {
      const { path, upload, pack } = await sparse();
      const before = await stored(upload);
      const { objects } = api.infrastructure;
      const write = objects.write.bind(objects);
      const killed = {
        write: async (...call: Parameters<typeof write>): Promise<void> => {
          if (writes) await write(...call);
          throw dead;
        },
      };
      await withStore(killed, () => expect(round(pack)).rejects.toBe(dead));
      expect((await rowOf(pack)).object_id).toBeNull();
      expect(await stored(upload)).toHaveLength(before.length + (writes ? 1 : 0));
      await deleteNow(
        (await queries().selectFrom('stale_objects').select('object_id').execute())
          .map(({ object_id: objectId }) => objectId)
          .filter((objectId) => !before.includes(objectId)),
      );
      await collector.run();
      expect(await stored(upload)).toHaveLength(before.length);
      expect((await round(pack)).compacted).toBe(1);
      expect(await stored(upload)).toHaveLength(before.length + 1); // that of the second attempt
      expect(await verificationOf(path)).toBe('verified');
    });

    it('no pack takes an object that is about to be deleted', async () => {
      const { pack } = await sparse();
      const { objects } = api.infrastructure;
      const write = objects.write.bind(objects);
      const late = {
        write: async (...call: Parameters<typeof write>): Promise<void> => {
          await write(...call);
          await queries()
            .updateTable('stale_objects')
            .set({ delete_after: new Date(Date.now() + 60_000) })
            .execute();
        },
      };
      expect(await withStore(late, () => round(pack))).toMatchObject({ compacted: 0, left: 1 });
      expect((await rowOf(pack)).object_id).toBeNull();
      await queries()
        .updateTable('stale_objects')
        .set({ delete_after: new Date(Date.now() + CONDEMNED_SECONDS * 1000) })
        .execute();
    });
  });

  it('leaves a pack whose needed chunks are damaged, and those that cannot be read now', async () => {
    const { upload, pack } = await sparse([2, 7]);
    const file = fileOf(upload, pack.packId);
    const bytes = await readFile(file);
    const at = pack.chunks[7]!.offset + 100;
    bytes[at] = (bytes[at] ?? 0) ^ 1;
    await writeFile(file, bytes);
    expect(await round(pack)).toEqual({ compacted: 0, freedBytes: 0, left: 1 });
    bytes[at] = (bytes[at] ?? 0) ^ 1;
    await writeFile(file, bytes);
    const away = { read: () => Promise.reject(new ResourceError('cdn.unavailable', 'The store is away.')) };
    await withStore(away, () => expect(round(pack)).rejects.toMatchObject({ code: 'cdn.unavailable' }));
    expect((await rowOf(pack)).object_id).toBeNull();
    expect((await round(pack)).compacted).toBe(1);
  });

  it('goes on with others where the object store does not give one, and says so at the end', async () => {
    const both = [await sparse(), await sparse()];
    const [stuck, other] = both.map(({ pack }) => pack) as [DraftPack, DraftPack];
    for (const [unread, fine] of [
      [stuck, other],
      [other, stuck],
    ] as const) {
      await lookAgain(unread);
      await queries().updateTable('packs').set({ examine_after: null }).where('id', '=', fine.packId).execute();
      const { objects } = api.infrastructure;
      const read = objects.read.bind(objects);
      const away = {
        read: (...call: Parameters<typeof read>) =>
          call[0].endsWith(unread.packId)
            ? Promise.reject(new ResourceError('cdn.unavailable', 'The store is away.'))
            : read(...call),
      };
      await withStore(away, () => expect(compaction.run()).rejects.toMatchObject({ code: 'cdn.unavailable' }));
      expect((await rowOf(fine)).object_id).not.toBeNull();
      expect((await rowOf(unread)).object_id).toBeNull();
      await queries()
        .updateTable('packs')
        .set({ object_id: null, extents: null, compacted_bytes: null, compacted_sha256: null, sparse: true })
        .where('id', '=', fine.packId)
        .execute();
      await queries().deleteFrom('stale_objects').where('object_id', '=', fine.packId).execute();
    }
  });

  it('looks at a pack a few times a day only, and stops after the one in hand', async () => {
    const { pack } = await sparse();
    const stopped = new AbortController();
    stopped.abort();
    await lookAgain(pack);
    expect((await compaction.run(stopped.signal)).compacted).toBe(0);
    expect((await compaction.run()).compacted).toBe(0);
    expect((await rowOf(pack)).object_id).toBeNull();
    expect((await round(pack)).compacted).toBe(1);
  });

  it('frees the folder’s quota, and a compacted pack is condemned and deleted as any other', async () => {
    const folder = 'small';
    const policies = api.app.get(FolderPolicies);
    const { path, upload, pack } = await sparse([2, 7], folder);
    const quotaBytes = pack.sizeBytes + 1000;
    await policies.replace(folder, { ...(await policies.of(folder)), quotaBytes }, { id: 'test', address: '' });
    const publish = async (name: string): Promise<number> => {
      const next = await DraftUpload.open(api, publisher, `${folder}/${name}`);
      const { status, text } = await next.pack(pseudoRandomBytes(name, 200_000)).then(
        (sent) => next.commit(next.draft(sent)),
        () => ({ status: 413, text: '' }),
      );
      expect([201, 413]).toContain(status);
      expect(text).toBeDefined();
      return status;
    };
    expect(await publish('before')).toBe(413);
    await round(pack);
    expect(await publish('after')).toBe(201);
    await withdraw(path, 2);
    await queries().deleteFrom('pack_pins').where('pack_id', '=', pack.packId).execute();
    await collector.run();
    const long = new Date(Date.now() - CONDEMNED_SECONDS * 1000);
    await queries().updateTable('packs').set({ condemned_at: long }).where('id', '=', pack.packId).execute();
    const { object_id: objectId } = await rowOf(pack);
    expect(await stored(upload)).toContain(objectId);
    await collector.run();
    expect(await rowOf(pack)).toMatchObject({ state: 'deleted' });
    expect(await stored(upload)).not.toContain(objectId);
  });

  it('keeps a condemned pack that a commit takes back as it is', async () => {
    const { path, pack } = await sparse([2, 7]);
    await round(pack);
    await withdraw(path, 2);
    await collector.run();
    expect(await rowOf(pack)).toMatchObject({ state: 'condemned' });
    expect(await offered(pack, path)).toEqual([2, 7]);
    expect((await commitPart(path, pack, [7, 2])).status).toBe(201);
    expect(await verificationOf(path)).toBe('verified');
  });
});
