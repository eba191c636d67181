import { join } from 'node:path';
import { Readable } from 'node:stream';

import { BundleWriter } from '@azaion/adapters/bundle';
import { DirectoryPackSource, DirectoryPackStore, DirectorySegmentStore } from '@azaion/adapters/file-store';
import { HttpPackSink, HttpPackSource } from '@azaion/adapters/http-packs';
import { ApiClient, fixedToken, HttpGrantApi, HttpUploadApi, HttpWellKnown } from '@azaion/adapters/resource-api';
import {
  connectToEmbeddedDatabase,
  directoryObjects,
  gatherEvidence,
  s3Objects,
  type StoredObjects,
} from '@azaion/adapters/split-evidence';
import { FileStatementTrust } from '@azaion/adapters/trust-store';
import { Secret, SystemClock, toBase64Url } from '@azaion/kernel';
import {
  FetchResource,
  type OpenedResource,
  packObjectKey,
  PackReader,
  PackSource,
  PublishResource,
  type Recipient,
} from '@azaion/split-resource';
import { softwareRecipient } from '@azaion/split-resource/testing';
import { describeWith, pseudoRandomBytes, startRadosGateway, type TempDirectory, tempDirectory } from '@azaion/testing';

import { CollectPacks } from '../sealed/collect-packs.js';
import { CompactPacks } from '../sealed/compact-packs.js';
import { VerifyVersions } from '../sealed/verify-versions.js';
import { type Account, type StartedApi, startApi } from '../testing/started-api.js';

const MIB = 1024 * 1024;
const RESOURCE = { folder: 'models', name: 'detector.onnx' };
const AT_ONCE = { attempts: 3, baseDelayMs: 1, maxDelayMs: 1 };

/** Does something before the second request. */
class Interrupted extends PackSource {
  private opens = 0;

  constructor(
    private readonly behind: PackSource,
    private readonly work: () => Promise<void>,
  ) {
    super();
  }

  override async open(...call: Parameters<PackSource['open']>): Promise<Readable> {
    if (++this.opens === 2) await this.work();
    return this.behind.open(...call);
  }
}

/** Three versions over HTTP, of which the later ones have little of the first, in a store of this kind. */
function describeCompaction(
  store: () => Promise<{
    readonly env: Readonly<Record<string, string>>;
    readonly objects: (directory: string) => Promise<StoredObjects>;
    readonly stop: () => Promise<void>;
  }>,
): void {
  const first = Buffer.from(pseudoRandomBytes('compacted over HTTP', 8 * MIB));
  const second = Buffer.concat([first.subarray(0, MIB), pseudoRandomBytes('second', MIB / 2)]);
  const third = Buffer.concat([pseudoRandomBytes('third', MIB / 4), first.subarray(first.length - MIB / 2)]);
  let stopStore: () => Promise<void>;
  let objectsIn: (directory: string) => Promise<StoredObjects>;
  let api: StartedApi;
  let publisher: Account;
  let client: ApiClient;
  let sink: HttpPackSink;
  let source: HttpPackSource;
  let place: TempDirectory;
  let devices = 0;

  beforeAll(async () => {
    const { env, stop, objects } = await store();
    [stopStore, objectsIn] = [stop, objects];
    api = await startApi(env);
    publisher = await api.account('ResourceUploader');
    client = new ApiClient({ baseUrl: api.url });
    [sink, source] = [new HttpPackSink(), new HttpPackSource()];
    place = await tempDirectory('azaion-compaction');
  }, 180_000);
  afterAll(async () => {
    await place.remove();
    await Promise.all([sink.close(), source.close(), client.close()]);
    await api.stop();
    await stopStore();
  });

  const grants = (): HttpGrantApi => new HttpGrantApi(client, fixedToken(publisher.token));
  const publish = async (content: Buffer): Promise<void> => {
    const engine = new PublishResource(new HttpUploadApi(client, fixedToken(publisher.token)), sink, {
      retry: AT_ONCE,
    });
    await engine.run({ resource: RESOURCE, kind: 'file', content: Readable.from([content]), maxBytes: 2 ** 30 });
  };
  /** A device with a disk of its own. */
  const newDevice = async () => {
    const directory = join(place.path, `device-${String(devices++)}`);
    const packs = new DirectoryPackStore({ directory: join(directory, 'packs'), limitBytes: 2 ** 30 });
    const trust = await FileStatementTrust.open({
      dataDirectory: join(directory, 'trust'),
      root: undefined,
      trustOnFirstUse: true,
      documents: new HttpWellKnown(client),
      clock: new SystemClock(),
      warn: () => undefined,
    });
    const recipient: Recipient = softwareRecipient();
    return async (version: number, sources: readonly PackSource[] = [source]): Promise<OpenedResource> =>
      new FetchResource({
        api: grants(),
        trust,
        reader: new PackReader(packs, sources, { retry: AT_ONCE, stallMs: 10_000, hedgeAfterMs: 10_000 }),
        segments: new DirectorySegmentStore(join(directory, 'segments')),
        clock: new SystemClock(),
        retry: AT_ONCE,
      }).run({ resource: RESOURCE, version, recipient });
  };
  const read = async (opened: OpenedResource, range?: { start: number; end: number }) => {
    let downloadedBytes = 0;
    const parts: Buffer[] = [];
    for await (const part of opened.read(range, (progress) => ({ downloadedBytes } = progress))) parts.push(part);
    return { bytes: Buffer.concat(parts), downloadedBytes };
  };
  const storedBytes = async (): Promise<number> => {
    const { database, objects } = api.infrastructure;
    const rows = await database.queries.selectFrom('packs').select(['id', 'folder_id', 'object_id']).execute();
    let bytes = 0;
    for (const { id, folder_id: folderId, object_id: objectId } of rows)
      for (const name of new Set([id, objectId ?? id]))
        bytes += (await objects.head(packObjectKey(folderId, name)))?.sizeBytes ?? 0;
    return bytes;
  };
  const removeReplaced = async (): Promise<void> => {
    await api.infrastructure.database.queries
      .updateTable('stale_objects')
      .set({ delete_after: new Date(0) })
      .execute();
    await api.app.get(CollectPacks).run();
  };

  it('says whether its store checks the MD5 of packs, and refuses packs without one there', async () => {
    const { needsMd5 } = api.infrastructure.objects;
    const { token } = publisher;
    const opening = await api.call('POST', '/sealed/models/md5/uploads', { token, body: {} });
    const { uploadId, packMd5 } = opening.json as { uploadId: string; packMd5: boolean };
    expect(packMd5).toBe(needsMd5);
    const body = { sizeBytes: 1, sha256: toBase64Url(new Uint8Array(32)) };
    const announcing = await api.call('POST', `/sealed/uploads/${uploadId}/packs`, { token, body });
    const { code } = announcing.json as { code?: string };
    expect([announcing.status, code]).toEqual(needsMd5 ? [422, 'upload.refused'] : [201, undefined]);
  });

  it('gives the bytes of ended versions back, and every device still opens what it may', async () => {
    for (const content of [first, second, third]) await publish(content);
    while (await api.app.get(VerifyVersions).next());
    const half = await newDevice();
    expect((await read(await half(1), { start: 0, end: MIB / 2 })).bytes.equals(first.subarray(0, MIB / 2))).toBe(true);
    const path = `/sealed/${RESOURCE.folder}/${RESOURCE.name}/versions/1/withdraw`;
    expect((await api.call('POST', path, { token: api.administrator.token, body: {} })).status).toBe(204);
    const before = await storedBytes();

    // One reads while it happens.
    const compacted: unknown[] = [];
    const running = new Interrupted(source, async () => void compacted.push(await api.app.get(CompactPacks).run()));
    const early = await read(await (await newDevice())(2, [running]));
    expect(early.bytes.equals(second)).toBe(true);
    expect(compacted).toMatchObject([{ compacted: 1, left: 0 }]);

    await removeReplaced();
    const after = await storedBytes();
    expect(before).toBeGreaterThan(first.length);
    // What both versions have of their own, what they need of the first, and at most a chunk at each of its two cuts.
    expect(after).toBeLessThan(second.length + third.length + 2 * 512 * 1024);
    for (const [version, content] of [
      [2, second],
      [3, third],
    ] as const) {
      const fresh = await newDevice();
      expect((await read(await fresh(version))).bytes.equals(content)).toBe(true);
      expect((await read(await fresh(version))).downloadedBytes).toBe(0);
      const rest = await read(await half(version));
      expect(rest.bytes.equals(content)).toBe(true);
    }
    while (await api.app.get(VerifyVersions).next());

    // Both stores and the key together still give everything.
    const connection = await connectToEmbeddedDatabase(api.directory);
    const stores = {
      client: connection,
      objects: await objectsIn(api.directory),
      kek: join(api.directory, 'keys', 'kek'),
    };
    const evidence = await gatherEvidence(stores, () => true).finally(() => connection.end());
    expect(evidence.opened.map(({ plaintext }) => plaintext.length).sort()).toEqual(
      [second.length, third.length].sort(),
    );

    // And where no network reaches.
    const writer = new BundleWriter(join(place.path, 'bundle'));
    const packs = await api.infrastructure.database.queries
      .selectFrom('version_packs')
      .innerJoin('packs', 'packs.id', 'version_packs.pack_id')
      .select(['id', 'folder_id', 'size_bytes', 'sha256'])
      .where('version', '=', 2)
      .execute();
    const opened = await (await newDevice())(2, [new DirectoryPackSource(join(place.path, 'bundle'))]);
    const { grantId } = await grants().grant({
      resource: RESOURCE,
      version: 2,
      recipientPoint: softwareRecipient().point,
      nonce: Buffer.alloc(32).toString('base64url'),
    });
    for (const { id: packId, folder_id: folderId, size_bytes: sizeBytes, sha256 } of packs) {
      const locate = async () => (await grants().packUrls(grantId, [packId]))[0];
      await writer.pack(source, folderId, { packId, sizeBytes, sha256 }, locate, new AbortController().signal);
    }
    expect((await read(opened)).bytes.equals(second)).toBe(true);
  }, 180_000);
}

describe('compaction over HTTP with the file store', () => {
  describeCompaction(() =>
    Promise.resolve({
      env: {},
      objects: (directory) => Promise.resolve(directoryObjects(join(directory, 'objects'))),
      stop: () => Promise.resolve(),
    }),
  );
});
describeWith('ceph', 'compaction over HTTP with S3 (RADOS gateway)', () => {
  describeCompaction(async () => {
    const s3 = await startRadosGateway();
    let close = (): void => undefined;
    return {
      env: {
        S3_ENDPOINT: s3.endpoint,
        S3_REGION: s3.region,
        S3_BUCKET: s3.bucket,
        S3_ACCESS_KEY_ID: s3.accessKeyId,
        S3_SECRET_ACCESS_KEY: s3.secretAccessKey,
      },
      objects: async () => {
        const { region, accessKeyId, secretAccessKey, endpoint, bucket } = s3;
        const objects = await s3Objects(
          { region, accessKeyId, secretAccessKey: new Secret(secretAccessKey) },
          endpoint,
          bucket,
        );
        close = () => objects.close();
        return objects;
      },
      stop: async () => {
        close();
        await s3.stop();
      },
    };
  });
});
