import { rmSync } from 'node:fs';
import { mkdir, mkdtemp, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';

import { HttpPackSource } from '@azaion/adapters/http-packs';
import { FileLeaseStore } from '@azaion/adapters/lease-store';
import { ApiClient, fixedToken, HttpGrantApi, HttpUploadApi } from '@azaion/adapters/resource-api';

import type { FuzzTarget } from './targets.js';

const UUID = 'd955a364-7317-42c7-8a48-fed77b31f69f';
const PACK_ID = '0f'.repeat(16);
const RESOURCE = { folder: 'models', name: 'a.onnx' };
const RANGE = { start: 10, end: 110 };
const TIMEOUT_MS = 5_000;

/** Answers of the Admin API and of the CDN, each a whole HTTP answer through the client that the product uses; and what a device keeps of a grant. */
export async function answerTargets(): Promise<readonly FuzzTarget[]> {
  return [...(await answers()), await leaseFile()];
}

async function answers(): Promise<FuzzTarget[]> {
  let answer: Uint8Array = new Uint8Array(0);
  // Whatever is asked, and once only: the connection ends with the answer.
  const server = createServer((socket) => {
    socket.unref();
    socket.on('error', () => undefined).once('data', () => socket.end(answer));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  server.unref();
  const baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const client = new ApiClient({ baseUrl, headersTimeoutMs: TIMEOUT_MS, bodyTimeoutMs: TIMEOUT_MS });
  const grants = new HttpGrantApi(client, fixedToken('token'));
  const uploads = new HttpUploadApi(client, fixedToken('token'));
  const packs = new HttpPackSource();
  const target = (name: string, seeds: readonly string[], ask: () => Promise<unknown>): FuzzTarget => ({
    name,
    seeds: seeds.map((seed) => Buffer.from(seed, 'latin1')),
    read: (bytes) => {
      answer = bytes;
      return ask();
    },
  });
  const packUrl = { packId: PACK_ID, url: 'https://cdn.example/pack?sig=1' };
  const left = {
    url: packUrl.url,
    sha256: base64url(32),
    extents: [
      { start: 0, end: 9 },
      { start: 100, end: 200 },
    ],
  };
  const compacted = { packId: PACK_ID, compacted: left };
  const grant = {
    grantId: UUID,
    statement: 'a.b.c',
    grantToken: 'a.b.c',
    sealedRecipeKey: { enc: base64url(65), ciphertext: base64url(80) },
    urls: [packUrl],
    verified: true,
  };
  const chunk = {
    id: base64url(16),
    packId: PACK_ID,
    packSize: 1000,
    packSha256: base64url(32),
    offset: 0,
    sealedLength: 100,
  };
  const problem = { status: 409, code: 'upload.pack-gone', detail: 'Gone.', packIds: [PACK_ID], requestId: UUID };
  const content = 'x'.repeat(100);
  return [
    target('answer-grant', [httpAnswer(201, [], grant), httpAnswer(429, ['Retry-After: 5'], { status: 429 })], () =>
      grants.grant({ resource: RESOURCE, version: 1, recipientPoint: new Uint8Array(65), nonce: 'n' }),
    ),
    target('answer-pack-urls', [httpAnswer(200, [], [packUrl]), httpAnswer(200, [], [compacted])], () =>
      grants.packUrls(UUID, [PACK_ID]),
    ),
    target('answer-known-chunks', [httpAnswer(200, [], [chunk]), httpAnswer(409, [], problem)], () =>
      uploads.knownChunks(UUID, ['00'.repeat(16)]),
    ),
    target(
      'answer-pack',
      [
        `HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 10-109/1000\r\nContent-Length: 100\r\n\r\n${content}`,
        `HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n${content}${content}`,
        'HTTP/1.1 503 Busy\r\nRetry-After: Sun, 22 Nov 2026 08:00:00 GMT\r\nContent-Length: 0\r\n\r\n',
      ],
      async () => {
        const pack = { packId: PACK_ID, sizeBytes: 1000, sha256: new Uint8Array(32) };
        const location = { folderId: UUID, pack, url: `${baseUrl}/pack` };
        const { length } = await buffer(await packs.open(location, RANGE, TIMEOUT_MS));
        if (length !== RANGE.end - RANGE.start) throw new Error(`${length} bytes were taken for the range`);
      },
    ),
  ];
}

function httpAnswer(status: number, headers: readonly string[], body: object): string {
  return [`HTTP/1.1 ${status} Answer`, 'Connection: close', ...headers, '', JSON.stringify(body)].join('\r\n');
}

async function leaseFile(): Promise<FuzzTarget> {
  const root = await mkdtemp(join(tmpdir(), 'azaion-fuzz-leases-'));
  process.once('exit', () => rmSync(root, { recursive: true, force: true }));
  const store = new FileLeaseStore(root);
  const directory = join(root, RESOURCE.folder, RESOURCE.name);
  await mkdir(directory, { recursive: true });
  const grant = {
    grantId: UUID,
    statement: 'a.b.c',
    grantToken: 'a.b.c',
    enc: base64url(65),
    ciphertext: base64url(80),
  };
  return {
    name: 'lease-file',
    seeds: [Buffer.from(JSON.stringify({ ...grant, verified: true }))],
    read: async (bytes) => {
      await writeFile(join(directory, '1.json'), bytes);
      for (const { grant: found, version } of await store.of(RESOURCE))
        if (version !== 1 || found.sealedRecipeKey.enc.length > 65 || found.sealedRecipeKey.ciphertext.length > 1024)
          throw new Error('more was read than a lease has');
    },
  };
}

function base64url(sizeBytes: number): string {
  return Buffer.alloc(sizeBytes).toString('base64url');
}
