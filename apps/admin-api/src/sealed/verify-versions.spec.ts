/* eslint-disable @typescript-eslint/no-unsafe-assignment, @typescript-eslint/no-unsafe-member-access -- answers are looked into as they come */
import { createCipheriv, randomBytes } from 'node:crypto';
import { readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { toBase64Url } from '@azaion/kernel';
import { packObjectKey, ResourceError } from '@azaion/split-resource';
import { softwareRecipient } from '@azaion/split-resource/testing';

import type { Queries } from '../persistence/database.js';
import { type DraftPack, DraftUpload } from '../testing/draft-upload.js';
import { untilSomethingWaits, whileLocked } from '../testing/lock-waits.js';
import { type Account, type StartedApi, startApi } from '../testing/started-api.js';
import { VerifyVersions } from './verify-versions.js';

describe('the verifier', () => {
  let api: StartedApi;
  let publisher: Account;
  let verifier: VerifyVersions;
  let names = 0;
  beforeAll(async () => {
    api = await startApi();
    publisher = await api.account('ResourceUploader');
    verifier = api.app.get(VerifyVersions);
  });
  afterAll(async () => {
    await api.stop();
  });

  const everything = async (): Promise<void> => {
    while (await verifier.next());
  };
  const committed = async (change: { sha256?: Uint8Array } = {}) => {
    const name = `checked-${String(names++)}`;
    const upload = await DraftUpload.open(api, publisher, `models/${name}`);
    const pack = await upload.pack(randomBytes(40_000), randomBytes(50_000), randomBytes(60_000));
    expect((await upload.commit({ ...upload.draft(pack), ...change })).status).toBe(201);
    return { name, upload, pack, file: fileOf(upload, pack) };
  };
  const fileOf = (upload: DraftUpload, pack: DraftPack): string =>
    join(api.directory, 'objects', ...packObjectKey(upload.opened.folderId as string, pack.packId).split('/'));
  const flip = async (file: string, at: number): Promise<void> => {
    const bytes = await readFile(file);
    bytes[at] = (bytes[at] ?? 0) ^ 1;
    await writeFile(file, bytes);
  };
  const verificationOf = async (name: string): Promise<string> => {
    const { json } = await api.call('GET', `/sealed/models/${name}`, { token: publisher.token });
    const { verified, verification } = json.versions[0] as { verified: boolean; verification: string };
    expect(verified).toBe(verification === 'verified');
    return verification;
  };
  const goodOf = async ({ packId }: DraftPack): Promise<(boolean | null)[]> => {
    const rows = await api.infrastructure.database.queries
      .selectFrom('pack_chunks')
      .select('good')
      .where('pack_id', '=', packId)
      .orderBy('start_byte')
      .execute();
    return rows.map(({ good }) => good);
  };

  it('passes what is as its publisher said, once, and says so in the catalogue and the audit log', async () => {
    const { name, pack } = await committed();
    expect(await verificationOf(name)).toBe('pending');
    await everything();
    expect(await verificationOf(name)).toBe('verified');
    expect(await goodOf(pack)).toEqual([true, true, true]);
    expect(await verifier.next()).toBe(false);
    const events = await api.infrastructure.database.queries
      .selectFrom('audit_events')
      .select(['event', 'actor'])
      .where('subject', '=', `models/${name}`)
      .where('event', '=', 'version.verified')
      .execute();
    expect(events).toEqual([{ event: 'version.verified', actor: 'system' }]);
  });

  it('finds a flipped bit, names the chunk, and leaves its neighbours good', async () => {
    const { name, pack, file } = await committed();
    await flip(file, pack.chunks[1]!.offset + 30);
    await everything();
    expect(await verificationOf(name)).toBe('bad');
    expect(await goodOf(pack)).toEqual([true, false, true]);
  });

  it('finds a pack that is gone, and one that is too short', async () => {
    const gone = await committed();
    const cut = await committed();
    await api.infrastructure.objects.delete(packObjectKey(gone.upload.opened.folderId as string, gone.pack.packId));
    await writeFile(cut.file, (await readFile(cut.file)).subarray(0, cut.pack.chunks[2]!.offset));
    await everything();
    expect(await verificationOf(gone.name)).toBe('bad');
    expect(await goodOf(gone.pack)).toEqual([false, false, false]);
    expect(await verificationOf(cut.name)).toBe('bad');
    expect(await goodOf(cut.pack)).toEqual([true, true, false]);
  });

  it.each<[string, (pack: DraftPack) => number | undefined, boolean[]]>([
    ['is gone', () => undefined, [false, false, false]],
    ['has no byte left', () => 0, [false, false, false]],
    ['ends within the chunk', ({ chunks }) => chunks[1]!.offset + 1, [true, false, false]],
    ['ends right in front of the chunk', ({ chunks }) => chunks[1]!.offset, [true, false, false]],
  ])(
    'takes what is missing of a pack that %s for missing once a reader reports a chunk of it, and its publisher repairs it at once',
    async (_, endOf, left) => {
      const { name, upload, pack, file } = await committed();
      const neighbour = await DraftUpload.open(api, publisher, `models/${name}-neighbour`);
      expect((await neighbour.commit(neighbour.draft(pack))).status).toBe(201);
      await everything();
      const end = endOf(pack);
      if (end === undefined)
        await api.infrastructure.objects.delete(packObjectKey(upload.opened.folderId as string, pack.packId));
      else await truncate(file, end);
      expect([await verifier.next(), await verificationOf(name)]).toEqual([false, 'verified']); // nobody has noticed
      const path = `/sealed/models/${name}/versions/1/bad-chunk`;
      expect((await api.call('POST', path, { token: publisher.token, body: { chunk: 1 } })).status).toBe(202);
      expect(await verifier.next()).toBe(true);
      expect(await verificationOf(name)).toBe('bad');
      expect(await goodOf(pack)).toEqual(left);
      const again = await DraftUpload.open(api, publisher, `models/${name}`);
      const kept = pack.chunks.filter((_chunk, index) => left[index]);
      const { json: known } = await again.known(pack.chunks.map(({ id }) => id));
      expect(known).toMatchObject(kept.map(({ id }) => ({ id: toBase64Url(id) })));
      const sent = await again.pack(...pack.chunks.map(({ content }) => content));
      expect(await again.commit(again.draft(sent))).toMatchObject({ status: 201, json: { version: 2 } });
      await everything();
      expect(await verificationOf(name)).toBe('verified');
      expect(await verificationOf(`${name}-neighbour`)).toBe('bad');
    },
  );

  it('finds a whole that its publisher misstated, although every chunk is good', async () => {
    const { name, pack } = await committed({ sha256: randomBytes(32) });
    await everything();
    expect(await verificationOf(name)).toBe('bad');
    expect(await goodOf(pack)).toEqual([true, true, true]);
  });

  it('says nothing of a store that does not answer, and takes the version up again', async () => {
    const { name } = await committed();
    const { objects, database } = api.infrastructure;
    const read = objects.read.bind(objects);
    objects.read = () => Promise.reject(new ResourceError('cdn.unavailable', 'The store is away.'));
    try {
      await expect(verifier.next()).rejects.toMatchObject({ code: 'cdn.unavailable' });
    } finally {
      objects.read = read;
    }
    expect(await verificationOf(name)).toBe('pending');
    expect(await verifier.next()).toBe(false); // claimed, until the claim of the one who failed has run out
    await database.queries
      .updateTable('versions')
      .set({ claimed_until: new Date(0) })
      .execute();
    await everything();
    expect(await verificationOf(name)).toBe('verified');
  });

  it('leaves what only a later release can read to its replicas, and says nothing of it', async () => {
    const { name, pack, file } = await committed();
    const chunk = pack.chunks[1]!;
    const nonce = randomBytes(12);
    const length = Buffer.alloc(4);
    length.writeUInt32BE(chunk.content.length);
    const cipher = createCipheriv('aes-256-gcm', chunk.key, nonce);
    cipher.setAAD(Buffer.concat([Buffer.from('azaion-chunk-v2'), Uint8Array.of(7), chunk.h, length]));
    const sealed = Buffer.concat([
      Uint8Array.of(7),
      nonce,
      cipher.update(chunk.content),
      cipher.final(),
      cipher.getAuthTag(),
    ]);
    const bytes = await readFile(file);
    const before = Buffer.from(bytes);
    sealed.copy(bytes, chunk.offset);
    await writeFile(file, bytes);
    await expect(verifier.next()).rejects.toMatchObject({ code: 'chunk.unsupported-codec' });
    expect(await verificationOf(name)).toBe('pending');
    expect(await verifier.next()).toBe(false);
    expect(await goodOf(pack)).not.toContain(false);
    const reported = { token: publisher.token, body: { chunk: 1 } };
    expect((await api.call('POST', `/sealed/models/${name}/versions/1/bad-chunk`, reported)).status).toBe(202);
    await everything();
    expect([await verificationOf(name), await goodOf(pack)]).toEqual(['pending', expect.not.arrayContaining([false])]);
    await writeFile(file, before);
    await api.infrastructure.database.queries
      .updateTable('versions')
      .set({ claimed_until: new Date(0) })
      .execute();
    await everything();
    expect(await verificationOf(name)).toBe('verified');
  });

  it('is one for each version, however many replicas look for work', async () => {
    const versions = await Promise.all([committed(), committed(), committed()]);
    const { objects } = api.infrastructure;
    const read = objects.read.bind(objects);
    const keys = new Set<string>();
    const reads: string[] = [];
    objects.read = (key, range) => {
      keys.add(key);
      reads.push(`${key} from ${range.start}`);
      return read(key, range);
    };
    try {
      await Promise.all(Array.from({ length: 8 }, () => verifier.next()));
    } finally {
      objects.read = read;
    }
    expect(keys.size).toBe(versions.length);
    expect(reads).toHaveLength(new Set(reads).size);
    for (const { name } of versions) expect(await verificationOf(name)).toBe('verified');
  });

  it('looks at other versions of a pack again when one of its chunks turns out bad, and at the bad ones a day later', async () => {
    const first = await committed();
    await everything();
    const second = await DraftUpload.open(api, publisher, `models/${first.name}-2`);
    await second.commit({ ...second.draft(first.pack), sha256: randomBytes(32) });
    await flip(first.file, first.pack.chunks[0]!.offset + 30);
    await everything();
    expect(await verificationOf(`${first.name}-2`)).toBe('bad');
    expect(await verificationOf(first.name)).toBe('bad');
    await flip(first.file, first.pack.chunks[0]!.offset + 30); // the store was restored
    expect(await verifier.next()).toBe(false);
    await api.infrastructure.database.queries
      .updateTable('versions')
      .set({ checked_at: new Date(0) })
      .execute();
    await everything();
    expect(await verificationOf(first.name)).toBe('verified');
    expect(await goodOf(first.pack)).toEqual([true, true, true]);
  });

  it.each(['the version', 'another version of the pack'])(
    'does not pass what a report about %s shows to be bad while it is being checked',
    async (which) => {
      const { name, pack, file } = await committed();
      await everything();
      const twin = await DraftUpload.open(api, publisher, `models/${name}-twin`);
      expect((await twin.commit(twin.draft(pack))).status).toBe(201);
      let damaged = false;
      const breathe = async (): Promise<void> => {
        if (damaged) return; // after the first chunk, which was good when it was read
        damaged = true;
        await flip(file, pack.chunks[0]!.offset + 30);
        const reported = which === 'the version' ? `${name}-twin` : name;
        const path = `/sealed/models/${reported}/versions/1/bad-chunk`;
        expect((await api.call('POST', path, { token: publisher.token, body: { chunk: 0 } })).status).toBe(202);
        expect(await verifier.next()).toBe(true);
      };
      expect(await verifier.next({ breathe })).toBe(true);
      expect(damaged).toBe(true);
      expect(await verificationOf(`${name}-twin`)).not.toBe('verified');
      expect((await goodOf(pack))[0]).toBe(false); // newer than what the check had read
      await everything();
      expect(await verificationOf(`${name}-twin`)).toBe('bad');
      expect(await verificationOf(name)).toBe('bad');
    },
  );

  it('locks the versions of a damaged pack in one order: no two reports wait for each other', async () => {
    const { name, pack, file } = await committed();
    const twin = await DraftUpload.open(api, publisher, `models/${name}-twin`);
    expect((await twin.commit(twin.draft(pack))).status).toBe(201);
    await everything();
    const { database } = api.infrastructure;
    const named = [name, `${name}-twin`];
    const resources = database.queries.selectFrom('resources').select(['id', 'name']).where('name', 'in', named);
    const [low, high] = (await resources.orderBy('id').execute()) as [{ id: string }, { id: string; name: string }];
    await flip(file, pack.chunks[0]!.offset + 30);
    const path = `/sealed/models/${high.name}/versions/1/bad-chunk`;
    expect((await api.call('POST', path, { token: publisher.token, body: { chunk: 0 } })).status).toBe(202);
    const lock = (on: Queries, id: string) =>
      on.selectFrom('versions').select('version').where('resource_id', '=', id).forUpdate();
    const waiting = await whileLocked(
      api,
      (holder) => lock(holder, low.id).execute(),
      async () => {
        const checking = verifier.next();
        await untilSomethingWaits(api);
        // Who waits for the first one holds none that comes after it, also the one that the report is about.
        await lock(database.queries, high.id).noWait().execute();
        return { checking };
      },
    );
    expect(await waiting.checking).toBe(true);
    await everything();
    for (const each of named) expect(await verificationOf(each)).toBe('bad');
  });

  it('waits for nobody who decides about the resource, who might wait for the version: its result is one change of a row', async () => {
    const { name } = await committed();
    const decided = (on: Queries) => on.selectFrom('resources').select('id').where('name', '=', name).forUpdate();
    await whileLocked(
      api,
      (holder) => decided(holder).execute(),
      async () => expect(await verifier.next()).toBe(true),
    );
    expect(await verificationOf(name)).toBe('verified');
  });

  it('ends a report about a version whose recipe does not open', async () => {
    const { name } = await committed();
    await everything();
    const { queries } = api.infrastructure.database;
    const { id } = await queries
      .selectFrom('resources')
      .select('id')
      .where('name', '=', name)
      .executeTakeFirstOrThrow();
    const path = `/sealed/models/${name}/versions/1/bad-chunk`;
    expect((await api.call('POST', path, { token: publisher.token, body: { chunk: 0 } })).status).toBe(202);
    await queries
      .updateTable('version_segments')
      .set({ sealed: Buffer.alloc(100) })
      .where('resource_id', '=', id)
      .where('kind', '=', 'chunks')
      .execute();
    await everything();
    expect(await verificationOf(name)).toBe('bad');
    expect(await queries.selectFrom('chunk_reports').selectAll().execute()).toEqual([]);
  });

  it('tells readers with their grant', async () => {
    const { name } = await committed();
    const granted = async (): Promise<unknown> => {
      const { json } = await api.call('POST', `/sealed/models/${name}/grants`, {
        token: publisher.token,
        body: { recipientPublicKey: toBase64Url(softwareRecipient().point), nonce: toBase64Url(randomBytes(16)) },
      });
      return json.verified;
    };
    expect(await granted()).toBe(false);
    await everything();
    expect(await granted()).toBe(true);
  });
});
