/* eslint-disable @typescript-eslint/no-unsafe-assignment, @typescript-eslint/no-unsafe-member-access -- answers are looked into as they come */
import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { open as openFile } from 'node:fs/promises';
import { join } from 'node:path';

import { type ChunkRecord, identifyChunk, type PackRef, rangeInObject } from '@azaion/split-resource';
import fc from 'fast-check';

import { TestDevice } from '../testing/device.js';
import { type DraftPack, DraftUpload } from '../testing/draft-upload.js';
import { type Account, type Answer, type StartedApi, startApi } from '../testing/started-api.js';
import { CollectPacks, CONDEMNED_SECONDS } from './collect-packs.js';
import { CompactPacks } from './compact-packs.js';
import { FolderPolicies } from './folder-policies.js';
import { packObject } from './pack-objects.js';
import { VerifyVersions } from './verify-versions.js';

/** Contents that versions are made of: few, so that they share chunks all the time. None is smaller than the cutter makes them. */
const CONTENTS = Array.from({ length: 5 }, () => randomBytes(33_000));
const NAMES = ['a', 'b'];
/** Among the publishers. */
const DEVICE = 2;
/** More of them: `MODEL_RUNS=500`. */
const RUNS = Number(process.env['MODEL_RUNS'] ?? 6);

/** Where a content lies. */
interface Place {
  readonly pack: PackRef;
  readonly offset: number;
  readonly sealedBytes: number;
}

interface KnownAnswer {
  readonly id: string;
  readonly packId: string;
  readonly packSize: number;
  readonly packSha256: string;
  readonly offset: number;
  readonly sealedLength: number;
}

/** An upload in the making, and what it was offered. */
interface OpenUpload {
  readonly upload: DraftUpload;
  readonly name: string;
  readonly scope: string;
  readonly contents: readonly number[];
  readonly known: Map<number, Place>;
  sent: DraftPack | undefined;
  /** One commit of an upload at a time: another would hand in other segments below it. */
  committing: boolean;
}

/** A version that was answered to be. */
interface LiveVersion {
  readonly contents: readonly number[];
  /** Where a content lies: in a pack from a byte on. */
  readonly places: readonly string[];
  scope: string;
}

/** What must be there: versions that were answered to be, and were not withdrawn since. */
interface Model {
  readonly live: Map<string, LiveVersion>;
  /** Places at which the object store has turned a bit over. */
  readonly damaged: Set<string>;
  promoted: number;
  /** How many there ever were. */
  committed: number;
  /** Packs that were. */
  compacted: number;
}

/** The real thing: everything goes over HTTP into PostgreSQL; several things happen at a time. */
interface Real {
  readonly api: StartedApi;
  /** Two people, and a device that publishes for itself. */
  readonly publishers: readonly Pick<Account, 'token'>[];
  readonly serial: string;
  readonly folder: string;
  readonly uploads: OpenUpload[];
}

/** One thing that somebody does. */
interface Act {
  /** What a failure shows. */
  readonly label: string;
  /** Nothing else goes on meanwhile. */
  readonly alone?: boolean;
  readonly run: (model: Model, real: Real) => Promise<void>;
}

function open(publisher: number, name: number, contents: readonly number[]): Act {
  return {
    label: `open ${NAMES[name] ?? ''} of ${contents.join()}`,
    run: async (_model, real) => {
      const path = `${real.folder}/${NAMES[name] ?? ''}`;
      const scope = publisher === DEVICE ? `device:${real.serial}` : 'fleet';
      const upload = await DraftUpload.open(real.api, real.publishers[publisher] as Pick<Account, 'token'>, path);
      real.uploads.push({ upload, name: path, scope, contents, known: new Map(), sent: undefined, committing: false });
    },
  };
}

/** The whole way at once. */
function publish(publisher: number, name: number, contents: readonly number[]): Act {
  const acts = [open(publisher, name, contents), send(0), commit(0)];
  return {
    label: `publish ${NAMES[name] ?? ''} of ${contents.join()}`,
    run: async (model, real) => {
      for (const act of acts) await act.run(model, real);
    },
  };
}

/** The newest, or one of those before it. */
function heldBy({ uploads }: Real, which: number): OpenUpload | undefined {
  return uploads.at(-1 - (which % Math.max(1, uploads.length)));
}

/** Asks what is known, and sends the rest in one pack. */
function send(which: number): Act {
  return {
    label: `send ${String(which)}`,
    run: async (_model, real) => {
      const held = heldBy(real, which);
      if (held === undefined || held.sent !== undefined) return;
      const wanted = [...new Set(held.contents)];
      const identities = wanted.map((content) => identifyChunk(CONTENTS[content] as Buffer, held.upload.domainKey));
      const { status, json } = await held.upload.known(identities.map(({ id }) => id));
      if (status !== 200) return; // expired meanwhile
      for (const chunk of json as KnownAnswer[]) {
        const at = identities.findIndex(({ id }) => Buffer.from(id).toString('base64url') === chunk.id);
        const sha256 = Buffer.from(chunk.packSha256, 'base64url');
        const pack = { packId: chunk.packId, sizeBytes: chunk.packSize, sha256 };
        held.known.set(wanted[at] as number, { pack, offset: chunk.offset, sealedBytes: chunk.sealedLength });
      }
      const missing = wanted.filter((content) => !held.known.has(content));
      if (missing.length === 0) return;
      const contents = missing.map((content) => CONTENTS[content] as Buffer);
      const pack = await held.upload.pack(...contents).catch(() => undefined);
      if (pack === undefined) return; // expired meanwhile
      held.sent = pack;
      missing.forEach((content, at) => {
        const { offset, sealedBytes } = pack.chunks[at] as DraftPack['chunks'][0];
        held.known.set(content, { pack, offset, sealedBytes });
      });
    },
  };
}

function commit(which: number): Act {
  return {
    label: `commit ${String(which)}`,
    run: async (model, real) => {
      const held = heldBy(real, which);
      if (held === undefined || held.committing || held.contents.some((content) => !held.known.has(content))) return;
      held.committing = true;
      const packs: PackRef[] = [];
      const sha256 = createHash('sha256');
      const chunks: ChunkRecord[] = held.contents.map((content) => {
        const plaintext = CONTENTS[content] as Buffer;
        sha256.update(plaintext);
        const { pack, offset, sealedBytes } = held.known.get(content) as Place;
        let packIndex = packs.findIndex(({ packId }) => packId === pack.packId);
        if (packIndex < 0) packIndex = packs.push(pack) - 1;
        const { h, key, plaintextBytes } = identifyChunk(plaintext, held.upload.domainKey);
        return { h, key, plaintextBytes, domain: held.upload.opened.domain as number, packIndex, offset, sealedBytes };
      });
      let answer: Answer;
      try {
        answer = await held.upload.commit({ chunks, packs, sha256: sha256.digest(), recipeKey: randomBytes(32) });
      } catch {
        return; // its segments were refused: it was committed or expired before
      } finally {
        held.committing = false;
      }
      // What is answered to be a version is one; everything else is said to be none.
      if (answer.status === 201) {
        const { contents, scope, known } = held;
        const places = contents.map((content) => placeOf(known.get(content) as Place));
        model.live.set(`${held.name}#${String(answer.json.version)}`, { contents, places, scope });
        model.committed++;
      } else if (![200, 404, 409].includes(answer.status)) throw new Error(answer.text);
    },
  };
}

function placeOf({ pack, offset }: Place): string {
  return `${pack.packId} ${String(offset)}`;
}

function liveVersion({ live }: Model, which: number): [string, LiveVersion] | [] {
  return [...live][which % Math.max(1, live.size)] ?? [];
}

/** The object store turns a bit of a version over. */
function damage(which: number): Act {
  return {
    label: `damage ${String(which)}`,
    alone: true, // or a pack that is being compacted may have been read before
    run: async (model, real) => {
      const [, version] = liveVersion(model, which);
      const place = version?.places[which % version.places.length];
      if (place === undefined || model.damaged.has(place)) return;
      model.damaged.add(place);
      const [packId = '', offset] = place.split(' ');
      const { queries } = real.api.infrastructure.database;
      const row = await queries.selectFrom('packs').selectAll().where('id', '=', packId).executeTakeFirstOrThrow();
      const { key, extents } = packObject(row);
      const at = Number(offset) + 40;
      const { start } = rangeInObject(extents, { start: at, end: at + 1 });
      const file = await openFile(join(real.api.directory, 'objects', ...key.split('/')), 'r+');
      const bit = Buffer.alloc(1);
      await file.read(bit, 0, 1, start);
      await file.write(Buffer.of((bit[0] ?? 0) ^ 1), 0, 1, start);
      await file.close();
    },
  };
}

/** A reader says that a chunk is bad, whether it is or not. */
function report(which: number): Act {
  return {
    label: `report ${String(which)}`,
    run: async (model, { api, publishers }) => {
      const [name, version] = liveVersion(model, which);
      if (name === undefined || version?.scope !== 'fleet') return;
      const damaged = version.places.findIndex((place) => model.damaged.has(place));
      const [path = '', number = ''] = name.split('#');
      const token = publishers[0]?.token;
      const body = { chunk: Math.max(0, damaged) };
      const { status } = await api.call('POST', `/sealed/${path}/versions/${number}/bad-chunk`, { token, body });
      expect([202, 404]).toContain(status); // it may have been withdrawn meanwhile
    },
  };
}

function promote(which: number): Act {
  return {
    label: `promote ${String(which)}`,
    run: async (model, { api }) => {
      const [name, version] = liveVersion(model, which);
      if (name === undefined || version === undefined) return;
      const [path = '', number = ''] = name.split('#');
      const route = `/sealed/${path}/versions/${number}/promote`;
      const { status } = await api.call('POST', route, { token: api.administrator.token, body: {} });
      expect([204, 409]).toContain(status); // it may have been withdrawn meanwhile
      if (status === 204 && version.scope !== 'fleet') model.promoted++;
      if (status === 204) version.scope = 'fleet';
    },
  };
}

function withdraw(which: number): Act {
  return {
    label: `withdraw ${String(which)}`,
    run: async (model, { api }) => {
      const [version] = liveVersion(model, which);
      if (version === undefined) return;
      model.live.delete(version);
      const [path = '', number = ''] = version.split('#');
      const route = `/sealed/${path}/versions/${number}/withdraw`;
      expect((await api.call('POST', route, { token: api.administrator.token, body: {} })).status).toBe(204);
    },
  };
}

function expire(which: number): Act {
  return {
    label: `expire ${String(which)}`,
    run: async (_model, real) => {
      const held = heldBy(real, which);
      if (held === undefined) return;
      const on = real.api.infrastructure.database.queries;
      await on
        .updateTable('uploads')
        .set({ expires_at: new Date(0) })
        .where('id', '=', held.upload.id)
        .execute();
    },
  };
}

const collect: Act = {
  label: 'collect',
  run: async (_model, { api }) => {
    await api.app.get(CollectPacks).run();
  },
};

const compact: Act = {
  label: 'compact',
  run: async (model, { api }) => {
    model.compacted += (await api.app.get(CompactPacks).run()).compacted;
  },
};

const letTimePass: Act = {
  label: 'let time pass', // condemned packs and replaced objects have waited long enough
  run: async (_model, { api }) => {
    const on = api.infrastructure.database.queries;
    const long = new Date(Date.now() - CONDEMNED_SECONDS * 1000);
    await on.updateTable('packs').set({ condemned_at: long }).where('state', '=', 'condemned').execute();
    await on.updateTable('packs').set({ examine_after: long }).execute();
    // What packs had before they were compacted; what nobody has taken yet is younger.
    const replaced = on.selectFrom('packs').select('id').where('object_id', 'is not', null);
    await on.updateTable('stale_objects').set({ delete_after: long }).where('object_id', 'in', replaced).execute();
  },
};

const verify: Act = {
  label: 'verify',
  run: async (_model, { api }) => {
    while (await api.app.get(VerifyVersions).next());
  },
};

/** Reads every version that must be there from the object store, chunk by chunk: each is good unless the object store has damaged it. */
async function assertNothingLost({ live, damaged }: Model, { api, folder }: Real): Promise<void> {
  const on = api.infrastructure.database.queries;
  const folders = on.selectFrom('folders').select('id').where('name', '=', folder);
  const resources = on.selectFrom('resources').select('id').where('folder_id', 'in', folders);
  await on
    .updateTable('versions')
    .set({ verification: 'pending', claimed_until: null })
    .where('resource_id', 'in', resources)
    .execute();
  while (await api.app.get(VerifyVersions).next());
  const rows = await on
    .selectFrom('versions')
    .innerJoin('resources', 'resources.id', 'versions.resource_id')
    .select(['resources.name', 'versions.version', 'versions.verification', 'versions.scope', 'versions.statement'])
    .where('versions.resource_id', 'in', resources)
    .where('versions.state', '=', 'live')
    .execute();
  const found = rows.map(({ name, version, verification, scope, statement }) => {
    expect(scopeIn(statement)).toBe(scope);
    return `${folder}/${name}#${String(version)} ${verification} ${scope}`;
  });
  const expected = [...live].map(([name, { places, scope }]) => {
    const verification = places.some((place) => damaged.has(place)) ? 'bad' : 'verified';
    return `${name} ${verification} ${scope}`;
  });
  expect(found.sort()).toEqual(expected.sort());
}

function scopeIn(statement: string): unknown {
  const payload = Buffer.from(statement.split('.')[1] ?? '', 'base64url').toString();
  return (JSON.parse(payload) as { scope: unknown }).scope;
}

/** What the verifier has found bad is published again: nothing of it is used for that. */
async function repairAll(model: Model, real: Real): Promise<void> {
  const isBad = ({ places }: LiveVersion): boolean => places.some((place) => model.damaged.has(place));
  for (const { contents } of [...model.live.values()].filter(isBad)) {
    await publish(0, 0, contents).run(model, real);
    const same = [...model.live.values()].filter((each) => each.contents.join() === contents.join());
    expect(same.some((each) => each.scope === 'fleet' && !isBad(each))).toBe(true);
  }
}

describe('publish, damage, repair, promote, withdraw, collect, compact, verify and commit in any order and at the same time', () => {
  let api: StartedApi;
  let publishers: readonly Pick<Account, 'token'>[];
  let serial: string;
  beforeAll(async () => {
    api = await startApi({ ACCESS_TOKEN_SECONDS: '86400', SESSION_SECONDS: '86400' });
    const device = await TestDevice.enrolled(api);
    serial = device.serial;
    publishers = [
      await api.account('ResourceUploader'),
      await api.account('ResourceUploader'),
      { token: await device.token() },
    ];
  });
  afterAll(async () => {
    await api.stop();
  });

  it('lose nothing of what a commit was answered for, and invent nothing', async () => {
    const some = fc.nat(3);
    const contents = fc.array(fc.nat(CONTENTS.length - 1), { minLength: 1, maxLength: 4 });
    const what = fc.tuple(fc.nat(DEVICE), fc.nat(NAMES.length - 1), contents);
    const acts = fc.oneof(
      { weight: 3, arbitrary: what.map((parts) => publish(...parts)) },
      { weight: 2, arbitrary: what.map((parts) => open(...parts)) },
      { weight: 2, arbitrary: some.map(send) },
      { weight: 3, arbitrary: some.map(commit) },
      { weight: 3, arbitrary: some.map(withdraw) },
      { weight: 2, arbitrary: some.map(promote) },
      { weight: 1, arbitrary: some.map(damage) },
      { weight: 1, arbitrary: some.map(report) },
      { weight: 1, arbitrary: some.map(expire) },
      { weight: 3, arbitrary: fc.constant(collect) },
      { weight: 3, arbitrary: fc.constant(compact) },
      { weight: 3, arbitrary: fc.constant(letTimePass) },
      { weight: 1, arbitrary: fc.constant(verify) },
    );
    // An act is waited for, with all that were begun before, or runs beside what follows.
    const step = fc.record({ act: acts, beside: fc.boolean() });
    const steps = fc.array(step, { minLength: 20, maxLength: 40, size: 'max' });
    const inTurn = (...taken: readonly Act[]): { act: Act; beside: boolean }[] =>
      taken.map((act) => ({ act, beside: false }));
    // Chance may never leave little of a pack, nor report what is damaged and publish it again: these do.
    const sparse = inTurn(publish(0, 0, [0, 1, 2, 3]), publish(0, 0, [0]), withdraw(0), compact, publish(1, 1, [0, 1]));
    const repaired = inTurn(
      publish(0, 0, [0, 1]),
      verify,
      publish(DEVICE, 1, [2]),
      promote(1),
      damage(0),
      report(0),
      verify,
    );
    repaired.push(...inTurn(publish(1, 0, [1, 0]), withdraw(0), collect));
    let committed = 0;
    let compacted = 0;
    let promoted = 0;
    await fc.assert(
      fc.asyncProperty(steps, async (taken) => {
        const model: Model = { live: new Map(), damaged: new Set(), committed: 0, compacted: 0, promoted: 0 };
        const folder = `model-${randomUUID()}`;
        const policies = api.app.get(FolderPolicies);
        const write = ['ResourceUploader', 'CompanionPC'] as const;
        await policies.replace(folder, { ...(await policies.of(folder)), write }, { id: 'test', address: '' });
        const real: Real = { api, publishers, serial, folder, uploads: [] };
        let underWay: Promise<void>[] = [];
        const settled = async (): Promise<void> => {
          await Promise.all(underWay);
          underWay = [];
        };
        for (const { act, beside } of taken) {
          if (act.alone === true) await settled();
          underWay.push(act.run(model, real));
          if (!beside || act.alone === true) await settled();
        }
        await settled();
        await assertNothingLost(model, real);
        await repairAll(model, real);
        if (model.damaged.size > 0) await assertNothingLost(model, real);
        committed += model.committed;
        compacted += model.compacted;
        promoted += model.promoted;
      }),
      { numRuns: RUNS, endOnFailure: true, examples: [[sparse], [repaired]] },
    );
    // It was about something.
    expect(committed).toBeGreaterThan(RUNS);
    expect(Math.min(compacted, promoted)).toBeGreaterThan(0);
  }, 3_600_000);
});
