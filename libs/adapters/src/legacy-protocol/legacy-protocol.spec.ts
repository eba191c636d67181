import { once } from 'node:events';
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import { type Duplex, Readable } from 'node:stream';

import { type ResourceName, Secret } from '@azaion/kernel';
import type { LegacyBigParts } from '@azaion/split-resource';
import { describeLegacyBigParts } from '@azaion/split-resource/testing';
import { type TempDirectory, tempDirectory } from '@azaion/testing';
import fc from 'fast-check';

import { type LegacyCdnConfig, parseCdnConfig } from './cdn-config.js';
import { DirectoryLegacyParts } from './directory-legacy-parts.js';
import { S3LegacyParts, S3LegacySink } from './s3-legacy-parts.js';

const COMPLETE = `
# The CDN of the company
host: cdn.example.com   # without a scheme
downloader_access_key: DOWN
downloader_access_secret: "down # secret"
uploader_access_key: 'UP'
uploader_access_secret: up/secret+x=
`;

describe('cdn.yaml', () => {
  it('names the CDN and its keys, quoted or not, beside comments', () => {
    const config = parseCdnConfig(COMPLETE);
    expect(config?.endpoint).toBe('https://cdn.example.com');
    expect(config?.downloader.accessKeyId).toBe('DOWN');
    expect(config?.downloader.secretAccessKey.reveal()).toBe('down # secret');
    expect(config?.uploader?.accessKeyId).toBe('UP');
    expect(config?.uploader?.secretAccessKey.reveal()).toBe('up/secret+x=');
  });

  it.each(['http://10.0.0.1:9000', 'https://cdn.example.com'])('takes the scheme from the host: %s', (host) =>
    expect(parseCdnConfig(COMPLETE.replace('cdn.example.com', host))?.endpoint).toBe(host),
  );

  it('may lack the keys to upload', () =>
    expect(parseCdnConfig(COMPLETE.replace(/uploader.*/g, ''))).toMatchObject({ uploader: undefined }));

  it.each([
    ['no host', COMPLETE.replace('host', 'hostess')],
    ['a host that is none', COMPLETE.replace('cdn.example.com', 'a b')],
    ['no keys to download', COMPLETE.replace('downloader_access_secret', 'downloader_secret')],
    ['nothing', ''],
    ['a page', '<html><body>Not here</body></html>'],
    ['too much', `${COMPLETE}${'#'.repeat(20_000)}`],
  ])('is refused with %s', (_, text) => expect(parseCdnConfig(text)).toBeUndefined());

  it('is read or refused, whatever it holds', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), (before, after) => {
        expect(() => parseCdnConfig(`${before}${COMPLETE}${after}`)).not.toThrow();
      }),
    );
  });

  it('prints no secret', () => expect(JSON.stringify(parseCdnConfig(COMPLETE))).not.toContain('secret+x'));
});

describe('a directory of the device', () => {
  const resource = { folder: 'models', name: 'x.onnx' };
  const { signal } = new AbortController();
  let directory: TempDirectory;
  let parts: LegacyBigParts;
  beforeAll(async () => {
    directory = await tempDirectory();
    parts = new DirectoryLegacyParts(directory.path);
  });
  afterAll(() => directory.remove());

  const at = ({ folder, name }: ResourceName, suffix: string): string =>
    join(directory.path, folder, `${name}.${suffix}`);

  /** Under its name at once, as tools that ship files do. */
  async function put(name: ResourceName, content: Uint8Array): Promise<void> {
    const path = at(name, 'big');
    await mkdir(dirname(path), { recursive: true });
    await writeFile(`${path}.new`, content);
    await rename(`${path}.new`, path);
  }

  describeLegacyBigParts('DirectoryLegacyParts', () => Promise.resolve({ parts, put }));

  it.each([
    ['as sha256sum writes it', `${'ab'.repeat(32)}  x.onnx\n`],
    ['alone', 'ab'.repeat(32)],
    ['in capitals', `${'AB'.repeat(32)}\r\n`],
    ['of a name with a backslash', `\\${'ab'.repeat(32)}  x\\\\y\n`],
  ])('knows the hash of the plaintext that lies beside a part, %s', async (_, text) => {
    await put(resource, Buffer.alloc(10));
    await writeFile(at(resource, 'sha256'), text);
    expect((await parts.find(resource, signal))?.plaintextSha256).toBe('ab'.repeat(32));
  });

  // Whoever shipped one wanted the content checked: going on without would hide that it is not.
  it.each([
    ['nothing', ''],
    ['a hash that is too short', 'ab'.repeat(31)],
    ['a hash that is too long', 'ab'.repeat(33)],
    ['something else', 'SHA-256 unknown'],
  ])('gives no part beside whose name lies %s', async (_, text) => {
    await put(resource, Buffer.alloc(10));
    await writeFile(at(resource, 'sha256'), text);
    await expect(parts.find(resource, signal)).rejects.toMatchObject({ code: 'cdn.missing' });
  });

  it('needs no hash', async () => {
    await put(resource, Buffer.alloc(10));
    await rm(at(resource, 'sha256'), { force: true });
    expect(await parts.find(resource, signal)).toMatchObject({ sizeBytes: 10, plaintextSha256: undefined });
  });

  it('notices that a part is written over while it is read', async () => {
    await put(resource, Buffer.alloc(5 * 1024 * 1024, 1));
    const found = (await parts.find(resource, signal))!;
    const reading = async (): Promise<void> => {
      let isFirst = true;
      for await (const piece of await found.open({ start: 0, end: found.sizeBytes }, signal)) {
        expect((piece as Buffer).every((byte) => byte === 1)).toBe(true);
        if (isFirst) await writeFile(at(resource, 'big'), Buffer.alloc(10, 2));
        isFirst = false;
      }
    };
    await expect(reading()).rejects.toMatchObject({ code: 'cdn.unavailable' });
  });
});

describe('the older CDN', () => {
  const resource = { folder: 'models', name: 'x.onnx' };
  const { signal } = new AbortController();
  const closing: (() => Promise<void>)[] = [];
  afterEach(async () => {
    for (const close of closing.splice(0)) await close();
  });

  async function serve(
    answer: RequestListener,
    { tunnel }: { tunnel?: (request: IncomingMessage, client: Duplex) => void } = {},
  ): Promise<string> {
    const server = createServer(answer).listen(0, '127.0.0.1');
    if (tunnel !== undefined) server.on('connect', tunnel);
    await once(server, 'listening');
    closing.push(async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    });
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  const configOf = (endpoint: string, accessKeyId = 'id'): LegacyCdnConfig => {
    const keys = { accessKeyId, secretAccessKey: new Secret('secret') };
    return { endpoint, downloader: keys, uploader: keys };
  };

  it('is read and written through the proxy', async () => {
    const passedOn: string[] = [];
    const proxy = await serve((request, response) => {
      passedOn.push(`${request.method ?? ''} ${request.url ?? ''}`);
      const sizeBytes = request.method === 'HEAD' ? 7 : 0;
      request.resume().on('end', () => response.writeHead(200, { 'content-length': sizeBytes, etag: '"x"' }).end());
    });
    const config = (): Promise<LegacyCdnConfig> => Promise.resolve(configOf('http://cdn.invalid'));
    const parts = new S3LegacyParts(config, { proxy });
    expect(await parts.find(resource, signal)).toMatchObject({ sizeBytes: 7 });
    await new S3LegacySink(config, { proxy }).put(resource, Readable.from([Buffer.alloc(7)]), 'ab'.repeat(32), signal);
    parts.forget();
    expect(passedOn.map((line) => line.split('?', 1)[0])).toEqual([
      'HEAD http://cdn.invalid/models/x.onnx.big',
      'PUT http://cdn.invalid/models/x.onnx.big',
    ]);
  });

  it('behind TLS is reached through a tunnel of the proxy', async () => {
    const tunnels: string[] = [];
    const proxy = await serve((_, response) => response.writeHead(500).end(), {
      tunnel: (request, client) => {
        tunnels.push(request.url ?? '');
        client.end('HTTP/1.1 503 Service Unavailable\r\n\r\n');
      },
    });
    const parts = new S3LegacyParts(() => Promise.resolve(configOf('https://cdn.invalid')), { proxy });
    await expect(parts.find(resource, signal)).rejects.toMatchObject({ code: 'cdn.unavailable' });
    parts.forget();
    expect(new Set(tunnels)).toEqual(new Set(['cdn.invalid:443']));
  });

  describe('whose keys were replaced', () => {
    let isReplaced: boolean;
    let asked: number;
    let parts: S3LegacyParts;
    beforeEach(async () => {
      [isReplaced, asked] = [false, 0];
      const endpoint = await serve((request, response) => {
        const isNew = request.headers.authorization?.includes('Credential=new/') === true;
        request.resume().on('end', () => response.writeHead(isNew === isReplaced ? 200 : 403, { etag: '"x"' }).end());
      });
      parts = new S3LegacyParts(() => {
        asked++;
        return Promise.resolve(configOf(endpoint, isReplaced ? 'new' : 'old'));
      });
    });
    afterEach(() => parts.forget());

    it('is asked again with the new ones, which are fetched once for all calls', async () => {
      await parts.find(resource, signal);
      isReplaced = true;
      const found = await Promise.all(Array.from({ length: 10 }, () => parts.find(resource, signal)));
      expect(found).toHaveLength(10);
      await parts.find(resource, signal);
      expect(asked).toBe(2);
    });

    it('refuses what it refused when there are no new ones', async () => {
      isReplaced = true;
      const endpoint = await serve((request, response) => {
        request.resume().on('end', () => response.writeHead(403).end());
      });
      let configs = 0;
      const refusing = new S3LegacyParts(() => {
        configs++;
        return Promise.resolve(configOf(endpoint));
      });
      await expect(refusing.find(resource, signal)).rejects.toMatchObject({ code: 'cdn.missing' });
      expect(configs).toBe(2);
      refusing.forget();
    });
  });
});
