import { createHash, hash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { Readable } from 'node:stream';

import { Secret } from '@azaion/kernel';
import { describeLegacyBigParts, describeObjectStore } from '@azaion/split-resource/testing';
import { describeWith, pseudoRandomBytes, type S3Service, signedS3Request, startRadosGateway } from '@azaion/testing';

import { HttpPackSink, HttpPackSource } from '../http-packs/index.js';
import { type LegacyCdnConfig, S3LegacyParts, S3LegacySink } from '../legacy-protocol/index.js';
import { s3Objects } from '../split-evidence/index.js';
import { S3ObjectStore } from './s3-object-store.js';

function storeOn(service: S3Service, publicEndpoint?: string): S3ObjectStore {
  return new S3ObjectStore({
    endpoint: service.endpoint,
    publicEndpoint,
    region: service.region,
    bucket: service.bucket,
    accessKeyId: service.accessKeyId,
    secretAccessKey: new Secret(service.secretAccessKey),
  });
}

describeWith('ceph', 'S3ObjectStore on a RADOS gateway', () => {
  let service: S3Service;
  beforeAll(async () => {
    service = await startRadosGateway();
  }, 180_000);
  afterAll(() => service.stop());

  describeObjectStore('S3ObjectStore', () => {
    const store = storeOn(service);
    const sink = new HttpPackSink();
    const source = new HttpPackSource();
    return Promise.resolve({
      store,
      sink,
      source,
      close: async () => {
        await sink.close();
        await source.close();
        store.close();
      },
    });
  });

  describeLegacyBigParts('S3LegacyParts', () => {
    const { endpoint, accessKeyId, secretAccessKey, bucket } = service;
    const downloader = { accessKeyId, secretAccessKey: new Secret(secretAccessKey) };
    return Promise.resolve({
      folder: bucket,
      parts: new S3LegacyParts(() => Promise.resolve({ endpoint, downloader, uploader: undefined })),
      put: async ({ name }, content) => {
        await signedS3Request(endpoint, service, 'PUT', `/${bucket}/${name}.big`, new Uint8Array(content));
      },
    });
  });

  it('keeps beside an older big part which small part it belongs to, however it was written', async () => {
    const { endpoint, accessKeyId, secretAccessKey, bucket } = service;
    const keys = { accessKeyId, secretAccessKey: new Secret(secretAccessKey) };
    let configs = 0;
    const config = (): Promise<LegacyCdnConfig> =>
      // The first keys are of before they were replaced: the gateway itself refuses them.
      Promise.resolve({
        endpoint,
        downloader: configs++ === 0 ? { ...keys, accessKeyId: 'gone' } : keys,
        uploader: keys,
      });
    const parts = new S3LegacyParts(config);
    const { signal } = new AbortController();
    expect(await parts.find({ folder: bucket, name: 'nothing' }, signal)).toBeUndefined();
    expect(configs).toBe(2);
    for (const sizeBytes of [0, 1000, 9 * 1024 * 1024]) {
      const name = `written-${sizeBytes}`;
      const content = pseudoRandomBytes(name, sizeBytes);
      const smallSha256 = hash('sha256', name);
      const sink = new S3LegacySink(config);
      await sink.put({ folder: bucket, name }, Readable.from([Buffer.from(content)]), smallSha256, signal);
      expect(await parts.find({ folder: bucket, name }, signal)).toMatchObject({ sizeBytes, smallSha256 });
    }
    parts.forget();
  });

  it('hands everything that lies in the bucket to whoever has its keys, and single objects', async () => {
    const { endpoint, region, bucket, accessKeyId } = service;
    const contents = new Map(
      [1, 2, 3].map((size) => [`packs/everything/${size}`, pseudoRandomBytes(String(size), size)]),
    );
    for (const [key, bytes] of contents)
      await signedS3Request(endpoint, service, 'PUT', `/${bucket}/${key}`, new Uint8Array(bytes));
    const keys = { region, accessKeyId, secretAccessKey: new Secret(service.secretAccessKey) };
    const objects = await s3Objects(keys, endpoint, bucket);
    const found = new Map<string, Buffer>();
    for await (const { where, bytes } of objects.all())
      if (where.startsWith('packs/everything/')) found.set(where, Buffer.from(bytes));
    for (const [key, bytes] of contents) {
      expect(found.get(key)?.equals(bytes)).toBe(true);
      expect((await objects.read(key)).equals(bytes)).toBe(true);
    }
    expect(found.size).toBe(contents.size);
    await expect(objects.read('packs/nothing')).rejects.toThrow();
    objects.close();
  });

  it('refuses a PUT whose signed headers were left out or changed', async () => {
    const store = storeOn(service);
    const bytes = randomBytes(100);
    const content = {
      sizeBytes: bytes.length,
      sha256: hash('sha256', bytes, 'hex'),
      md5: createHash('md5').update(bytes).digest('base64'),
    };
    const key = `packs/folder/${randomBytes(16).toString('hex')}`;
    const { url, headers } = await store.signPut(key, content, 60);
    const unconditional = Object.fromEntries(Object.entries(headers).filter(([name]) => name !== 'if-none-match'));
    const attempts: [Uint8Array, Record<string, string>][] = [
      [bytes, unconditional],
      [bytes, { ...headers, 'content-md5': 'AAAAAAAAAAAAAAAAAAAAAA==' }],
      [randomBytes(100), headers],
      [randomBytes(101), { ...headers, 'content-length': '101' }],
    ];
    for (const [body, sent] of attempts) {
      const { status } = await fetch(url, { method: 'PUT', body: new Uint8Array(body), headers: sent });
      expect(status).toBeGreaterThanOrEqual(400);
    }
    expect(await store.head(key)).toBeUndefined();
    store.close();
  });

  it('signs no PUT without the MD5 by which the service checks the bytes', async () => {
    const store = storeOn(service);
    await expect(store.signPut('packs/folder/00', { sizeBytes: 1, sha256: '00'.repeat(32) }, 60)).rejects.toThrow(
      'MD5',
    );
    store.close();
  });

  // By that a reader tells an object that was lost from a URL that is refused. It takes the right to list: without it S3 answers 403 to both.
  it('tells whom it signed a GET for that the object is gone', async () => {
    const store = storeOn(service);
    const source = new HttpPackSource();
    const pack = { packId: 'ab'.repeat(16), sizeBytes: 1, sha256: new Uint8Array(32) };
    const url = await store.signGet(`packs/folder/${randomBytes(16).toString('hex')}`, 60);
    await expect(source.open({ folderId: '', pack, url }, { start: 0, end: 1 }, 5_000)).rejects.toMatchObject({
      code: 'pack.not-found',
    });
    await source.close();
    store.close();
  });

  it('signs for the public endpoint and talks to its own', async () => {
    const store = storeOn(service, 'https://cdn.example.com');
    await store.check();
    expect(new URL(await store.signGet('packs/a/b', 60)).host).toBe('cdn.example.com');
    store.close();
  });

  it('says that a service it cannot use is unavailable', async () => {
    const store = storeOn({ ...service, bucket: 'no-such-bucket' });
    await expect(store.check()).rejects.toMatchObject({ code: 'cdn.unavailable' });
    store.close();
  });
});

describe('S3ObjectStore before a service that never answers', () => {
  it('gives up, after its attempts, as on one that is unavailable', async () => {
    const sockets: Socket[] = [];
    const silent = createServer((socket) => sockets.push(socket.on('error', () => undefined))).listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const store = new S3ObjectStore({
      endpoint: `http://127.0.0.1:${String((silent.address() as AddressInfo).port)}`,
      publicEndpoint: undefined,
      region: 'us-east-1',
      bucket: 'packs',
      accessKeyId: 'id',
      secretAccessKey: new Secret('secret'),
      answerTimeoutMs: 50,
    });
    try {
      await expect(store.head('packs/a/b')).rejects.toMatchObject({ code: 'cdn.unavailable' });
      expect(sockets.length).toBeGreaterThan(1);
    } finally {
      store.close();
      for (const socket of sockets) socket.destroy();
      silent.close();
    }
  });
});
