import { randomInt } from 'node:crypto';
import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';

import { HttpPackSink, HttpPackSource } from '@azaion/adapters/http-packs';
import { ApiClient, fixedToken, HttpGrantApi, HttpUploadApi, HttpWellKnown } from '@azaion/adapters/resource-api';
import { importVerificationKey, StatementKeys } from '@azaion/crypto';
import { SystemClock } from '@azaion/kernel';
import { FetchResource, PackReader, PublishResource, type PublishResult, type UploadApi } from '@azaion/split-resource';
import {
  InMemoryPackStore,
  InMemorySegmentStore,
  InMemoryStatementTrust,
  softwareRecipient,
} from '@azaion/split-resource/testing';
import { freePort, pseudoRandomBytes, type RunningProcess, type TempDirectory, tempDirectory } from '@azaion/testing';

import { postJson } from '../e2e/started-system.js';
import { startService } from '../started-service.js';

/** Moments at which the API is killed. */
const POINTS = Number(process.env['CRASH_POINTS'] ?? 200);
const RESOURCE_BYTES = 1024 * 1024;
const RESOURCE = { folder: 'models', name: 'committed.bin' };
const ADMINISTRATOR = { email: 'root@example.com', password: 'correct horse battery' };
/** No second try: a kill is meant to be seen. */
const ONCE = { attempts: 1, baseDelayMs: 1, maxDelayMs: 1 };

/** Says when the commit's request leaves. */
class WatchedUploadApi extends HttpUploadApi {
  onCommit: () => void = () => undefined;

  override commit(...request: Parameters<UploadApi['commit']>): ReturnType<UploadApi['commit']> {
    this.onCommit();
    return super.commit(...request);
  }
}

describe(`An Admin API killed with SIGKILL at ${String(POINTS)} random moments of publishing`, () => {
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

  async function publish(content: Buffer, onCommit?: () => void): Promise<PublishResult> {
    const client = new ApiClient({ baseUrl: url });
    const api = new WatchedUploadApi(client, fixedToken(token));
    if (onCommit) api.onCommit = onCommit;
    try {
      const publisher = new PublishResource(api, sink, { retry: ONCE });
      const request = { resource: RESOURCE, kind: 'file' as const, maxBytes: 2 * RESOURCE_BYTES };
      return await publisher.run({ ...request, content: Readable.from([content]) });
    } finally {
      await client.close();
    }
  }

  async function open(version: number): Promise<Buffer> {
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
      }).run({ resource: RESOURCE, version, recipient: softwareRecipient() });
      const parts: Buffer[] = [];
      for await (const part of opened.read()) parts.push(Buffer.from(part));
      return Buffer.concat(parts);
    } finally {
      await client.close();
    }
  }

  async function versions(): Promise<readonly number[]> {
    const path = `${url}/sealed/${RESOURCE.folder}/${RESOURCE.name}`;
    const answer = await fetch(path, { headers: { authorization: `Bearer ${token}` } });
    const { versions: listed } = (await answer.json()) as { versions: { version: number }[] };
    return listed.map(({ version }) => version).toSorted((one, other) => one - other);
  }

  it('keeps every version that it answered for, shows no half of one, and takes the publish up again', async () => {
    const base = pseudoRandomBytes('committed', RESOURCE_BYTES);
    const contentOf = (point: number): Buffer => {
      const content = Buffer.from(base);
      content.writeUInt32BE(point, (point * 4099) % (RESOURCE_BYTES - 4));
      return content;
    };
    const began = performance.now();
    await publish(contentOf(0));
    const usualMs = performance.now() - began;
    const expected: Buffer[] = [contentOf(0)];
    let answered = 0;
    for (let point = 1; point <= POINTS; point++) {
      const content = contentOf(point);
      const kill = (): void => admin.kill('SIGKILL');
      // Every other time within the commit itself: that is where a version comes into being.
      const publishing =
        point % 2 === 0 ? publish(content, () => void delay(randomInt(40)).then(kill)) : publish(content);
      if (point % 2 === 1) void delay(randomInt(Math.ceil(usualMs))).then(kill);
      const before = await publishing.then(
        ({ version }) => version,
        () => undefined,
      );
      await admin.ended;
      admin = await start();
      const listed = await versions();
      // All that were answered for; the one that was cut off is there whole, or not at all.
      expect(listed).toEqual(Array.from({ length: listed.length }, (_, index) => index + 1));
      expect([expected.length, expected.length + 1]).toContain(listed.length);
      if (before !== undefined) {
        answered++;
        expect(listed.at(-1)).toBe(before);
      }
      const again = await publish(content);
      expect(again).toMatchObject({ version: expected.length + 1, created: listed.length === expected.length });
      expected.push(content);
      expect((await open(expected.length)).equals(content)).toBe(true);
    }
    for (const [index, content] of expected.entries()) expect((await open(index + 1)).equals(content)).toBe(true);
    process.stdout.write(`${String(answered)} of ${String(POINTS)} kills came after the answer.\n`);
  });
});
