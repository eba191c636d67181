import { randomInt } from 'node:crypto';
import { chmod, readdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';

import { HttpPackSink, HttpPackSource } from '@azaion/adapters/http-packs';
import { ApiClient, fixedToken, HttpGrantApi, HttpUploadApi, HttpWellKnown } from '@azaion/adapters/resource-api';
import { connectToEmbeddedDatabase } from '@azaion/adapters/split-evidence';
import { importVerificationKey, StatementKeys } from '@azaion/crypto';
import { type ResourceName, SystemClock } from '@azaion/kernel';
import {
  FetchResource,
  packObjectKey,
  PackReader,
  PublishResource,
  type PublishResult,
  type UploadApi,
} from '@azaion/split-resource';
import {
  InMemoryPackStore,
  InMemorySegmentStore,
  InMemoryStatementTrust,
  softwareRecipient,
} from '@azaion/split-resource/testing';
import { freePort, pseudoRandomBytes, type RunningProcess, type TempDirectory, tempDirectory } from '@azaion/testing';

import { median } from '../bench/bench-result.js';
import { postJson } from '../e2e/started-system.js';
import { startService } from '../started-service.js';

/** Moments at which the API is killed: none counts that came after the end of what it was to hit. */
const POINTS = Number(process.env['CRASH_POINTS'] ?? 200);
const RESOURCE_BYTES = 1024 * 1024;
const ADMINISTRATOR = { email: 'root@example.com', password: 'correct horse battery' };
/** No second try: a kill is meant to be seen. */
const ONCE = { attempts: 1, baseDelayMs: 1, maxDelayMs: 1 };
const MEASURED = 3;

/** Says when the commit's request leaves. */
class WatchedUploadApi extends HttpUploadApi {
  onCommit: () => void = () => undefined;

  override commit(...request: Parameters<UploadApi['commit']>): ReturnType<UploadApi['commit']> {
    this.onCommit();
    return super.commit(...request);
  }
}

describe(`An Admin API killed with SIGKILL at ${String(POINTS)} random moments`, () => {
  let directory: TempDirectory;
  let admin: RunningProcess;
  let url: string;
  let token: string;
  const sink = new HttpPackSink();
  const source = new HttpPackSource();

  const start = (): Promise<RunningProcess> =>
    startService({
      app: 'admin-api',
      url,
      env: {
        NODE_ENV: 'development',
        ADMIN_HOST: '127.0.0.1',
        ADMIN_PORT: new URL(url).port,
        ADMIN_DATA_DIR: join(directory.path, 'admin'),
        BOOTSTRAP_ADMIN_EMAIL: ADMINISTRATOR.email,
        BOOTSTRAP_ADMIN_PASSWORD_FILE: join(directory.path, 'password'),
        ACCESS_TOKEN_SECONDS: '86400',
        SESSION_SECONDS: '86400',
        HOUSEKEEPING_SECONDS: '1',
      },
    });

  beforeAll(async () => {
    directory = await tempDirectory('azaion-crash');
    await chmod(directory.path, 0o755); // root's database user must reach it
    await writeFile(join(directory.path, 'password'), ADMINISTRATOR.password, { mode: 0o600 });
    url = `http://127.0.0.1:${String(await freePort())}`;
    admin = await start();
    token = (await postJson<{ access_token: string }>(`${url}/login`, ADMINISTRATOR)).access_token;
  }, 180_000);

  afterAll(async () => {
    await admin.stop();
    await sink.close();
    await source.close();
    await directory.remove();
  });

  const kill = (): void => admin.kill('SIGKILL');
  async function startAgain(): Promise<void> {
    kill();
    await admin.ended;
    admin = await start();
  }

  async function publish(resource: ResourceName, content: Buffer, onCommit?: () => void): Promise<PublishResult> {
    const client = new ApiClient({ baseUrl: url });
    const api = new WatchedUploadApi(client, fixedToken(token));
    if (onCommit) api.onCommit = onCommit;
    try {
      const publisher = new PublishResource(api, sink, { retry: ONCE });
      return await publisher.run({
        resource,
        kind: 'file',
        maxBytes: 2 * content.length,
        content: Readable.from([content]),
      });
    } finally {
      await client.close();
    }
  }

  async function open(resource: ResourceName, version: number): Promise<Buffer> {
    const client = new ApiClient({ baseUrl: url });
    try {
      const wellKnown = new HttpWellKnown(client);
      const trust = new InMemoryStatementTrust(async () => {
        const { kid, key } = await wellKnown.statementRoot();
        const root = await importVerificationKey(kid, key);
        return StatementKeys.verify(await wellKnown.statementKeys(), root, 0, Date.now() / 1000);
      });
      const opened = await new FetchResource({
        api: new HttpGrantApi(client, fixedToken(token)),
        trust,
        reader: new PackReader(new InMemoryPackStore(), [source]),
        segments: new InMemorySegmentStore(),
        clock: new SystemClock(),
      }).run({ resource, version, recipient: softwareRecipient() });
      const parts: Buffer[] = [];
      for await (const part of opened.read()) parts.push(Buffer.from(part));
      return Buffer.concat(parts);
    } finally {
      await client.close();
    }
  }

  async function versions({ folder, name }: ResourceName): Promise<readonly number[]> {
    const answer = await fetch(`${url}/sealed/${folder}/${name}`, { headers: { authorization: `Bearer ${token}` } });
    const { versions: listed } = (await answer.json()) as { versions: { version: number }[] };
    return listed.map(({ version }) => version).toSorted((one, other) => one - other);
  }

  it.each([
    { during: 'a publish', name: 'published.bin' },
    { during: 'a commit', name: 'committed.bin' },
  ])(
    'during $during: keeps every version that it answered for, shows no half of one, and takes the publish up again',
    async ({ during, name }) => {
      const resource = { folder: 'models', name };
      const base = pseudoRandomBytes(name, RESOURCE_BYTES);
      const expected: Buffer[] = [];
      const nextContent = (): Buffer => {
        const content = Buffer.from(base);
        content.writeUInt32BE(expected.length, (expected.length * 4099) % (RESOURCE_BYTES - 4));
        return content;
      };
      const published = async (): Promise<number> => {
        const content = nextContent();
        let beganMs = performance.now();
        await publish(resource, content, () => {
          if (during === 'a commit') beganMs = performance.now();
        });
        expected.push(content);
        return performance.now() - beganMs;
      };
      const lengthsMs: number[] = [];
      await startAgain(); // as at every point
      await published();
      for (let index = 0; index < MEASURED; index++) lengthsMs.push(await published());
      const usualMs = Math.ceil(median(lengthsMs));

      let [kills, cutOff, unanswered] = [0, 0, 0];
      for (; cutOff < POINTS; kills++) {
        const content = nextContent();
        let killed = false;
        const killSoon = (): void =>
          void delay(randomInt(usualMs)).then(() => {
            killed = true;
            kill();
          });
        const publishing = publish(resource, content, during === 'a commit' ? killSoon : undefined);
        if (during !== 'a commit') killSoon();
        const answered = await publishing.then(
          ({ version }) => version,
          (error: unknown) => {
            if (!killed) throw error;
            return undefined;
          },
        );
        await admin.ended;
        admin = await start();
        const listed = await versions(resource);
        // All that were answered for; the one that was cut off is there whole, or not at all.
        expect(listed).toEqual(Array.from({ length: listed.length }, (_, index) => index + 1));
        expect([expected.length, expected.length + 1]).toContain(listed.length);
        if (answered !== undefined) expect(listed.at(-1)).toBe(answered);
        else {
          cutOff++;
          if (listed.length > expected.length) unanswered++;
        }
        const again = await publish(resource, content);
        expect(again).toMatchObject({ version: expected.length + 1, created: listed.length === expected.length });
        expected.push(content);
        expect((await open(resource, expected.length)).equals(content)).toBe(true);
      }
      for (const [index, content] of expected.entries())
        expect((await open(resource, index + 1)).equals(content)).toBe(true);
      console.log(
        `${String(cutOff)} of ${String(kills)} kills cut ${during} off, usually ${String(usualMs)} ms long; ${String(unanswered)} times the version was there all the same`,
      );
    },
  );

  it('while it compacts a pack: has the pack as it was or the smaller one, and leaves nothing behind', async () => {
    const database = await connectToEmbeddedDatabase(join(directory.path, 'admin'));
    await database.query(HOLD_STEPS);
    const packOf = async ({ name }: ResourceName): Promise<PackRow> => {
      const { rows } = await database.query<PackRow>(
        `select packs.id, packs.folder_id, object_id, examine_after from packs
         join version_packs on pack_id = packs.id join resources on resources.id = resource_id
         where name = $1 and version = 1`,
        [name],
      );
      expect(rows).toHaveLength(1);
      return rows[0]!;
    };
    const objectsBeside = ({ folder_id: folderId, id }: PackRow): Promise<string[]> =>
      readdir(join(directory.path, 'admin', 'objects', dirname(packObjectKey(folderId, id))));
    const any = async (query: string): Promise<boolean> => ((await database.query(query)).rowCount ?? 0) > 0;
    /** As if two days had gone by: what no pack has taken, or has any more, is deleted, and everything else stays. */
    const settle = async (pack: PackRow): Promise<void> => {
      await database.query('update stale_objects set delete_after = to_timestamp(0)');
      while (await any('select from stale_objects')) await delay(20);
      const { rows } = await database.query<{ object: string }>(
        'select coalesce(object_id, id) as object from packs where folder_id = $1',
        [pack.folder_id],
      );
      expect((await objectsBeside(pack)).toSorted()).toEqual(rows.map(({ object }) => object).toSorted());
    };
    const withdrawFirst = async ({ folder, name }: ResourceName): Promise<void> => {
      const { status } = await fetch(`${url}/sealed/${folder}/${name}/versions/1/withdraw`, {
        method: 'POST',
        headers: { authorization: `Bearer ${token}` },
      });
      expect(status).toBe(204);
    };

    const needed: Buffer[] = [];
    const resourceAt = (point: number): ResourceName => ({ folder: 'compacted', name: `sparse-${String(point)}.bin` });
    let taken = 0;
    for (let point = 0; point < POINTS; point++) {
      const resource = resourceAt(point);
      const whole = pseudoRandomBytes(resource.name, SPARSE_PACK_BYTES);
      const content = whole.subarray(0, NEEDED_BYTES);
      needed.push(content);
      for (const each of [whole, content]) await publish(resource, each);
      const before = await packOf(resource);
      const step = STEPS[point % STEPS.length];
      if (step !== undefined) await database.query('select pg_advisory_lock(hashtext($1))', [step]);
      await withdrawFirst(resource);
      if (step === undefined) {
        while ((await packOf(resource)).examine_after === null);
        await delay(randomInt(COMPACTION_MS));
      } else while (!(await any(HELD))) await delay(5);
      kill();
      await admin.ended;
      // The statement that is held had not been sent yet, so to speak.
      await database.query(`select pg_terminate_backend(pid) from (${HELD}) as held`);
      if (step !== undefined) await database.query('select pg_advisory_unlock(hashtext($1))', [step]);
      admin = await start();

      if ((await packOf(resource)).object_id !== null) taken++;
      expect((await open(resource, 2)).equals(content)).toBe(true);
      await settle(before);
      expect((await open(resource, 2)).equals(content)).toBe(true);
      // It is tried again when its time has come.
      await database.query('update packs set examine_after = null where id = $1', [before.id]);
      while ((await packOf(resource)).object_id === null) await delay(20);
      await settle(before);
      expect(await objectsBeside(before)).not.toContain(before.id);
      expect((await open(resource, 2)).equals(content)).toBe(true);
    }
    for (const [point, content] of needed.entries())
      expect((await open(resourceAt(point), 2)).equals(content)).toBe(true);
    await database.end();
    console.log(`${String(POINTS)} kills, ${String(taken)} after which the pack was the smaller one`);
  });
});

/** Before which change of the database a compaction is held and killed; `undefined`: at a random moment of it. */
const STEPS = [
  'its object is written down',
  'its object is taken',
  'the pack changes',
  'the older object is stale',
  undefined,
];
/** Holds those steps for whoever has their locks. */
const HOLD_STEPS = `
  create function hold_step() returns trigger language plpgsql as $$
  begin
    perform pg_advisory_xact_lock_shared(hashtext(case
      when tg_table_name = 'packs' then '${STEPS[2]!}'
      when tg_op = 'DELETE' then '${STEPS[1]!}'
      when exists (select from packs where packs.id = new.object_id) then '${STEPS[3]!}'
      else '${STEPS[0]!}' end));
    return case when tg_op = 'DELETE' then old else new end;
  end $$;
  create trigger hold_step before insert or delete on stale_objects for each row execute function hold_step();
  create trigger hold_step before update of object_id on packs for each row execute function hold_step();`;
/** Who waits for one of them. */
const HELD = `select pid from pg_locks where locktype = 'advisory' and not granted`;
/** About as long as one takes. */
const COMPACTION_MS = 60;
/** In one pack. */
const SPARSE_PACK_BYTES = 8 * 1024 * 1024;
const NEEDED_BYTES = 1536 * 1024;

interface PackRow {
  readonly id: string;
  readonly folder_id: string;
  readonly object_id: string | null;
  readonly examine_after: Date | null;
}
