import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

import { Secret, toBase64Url } from '@azaion/kernel';
import { CHUNKING } from '@azaion/split-resource';

import {
  type AccessTokens,
  ApiClient,
  apiUrlProblem,
  fixedToken,
  HttpAuthApi,
  HttpCatalogue,
  HttpDesiredApi,
  HttpGrantApi,
  HttpUploadApi,
} from './index.js';

interface Seen {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
}
interface Reply {
  readonly status: number;
  readonly json?: unknown;
  readonly bytes?: Uint8Array;
  readonly headers?: Record<string, string>;
}

const UUID = '00000000-0000-4000-8000-000000000001';
const PACK = 'ab'.repeat(16);
const resource = { folder: 'models', name: 'a b' };

/** An Admin API that says what each test wants it to say. */
class ScriptedApi {
  readonly seen: Seen[] = [];
  reply: (request: Seen) => Reply | 'cut' = () => ({ status: 500 });
  private constructor(
    private readonly server: Server,
    readonly baseUrl: string,
  ) {}

  static async start(): Promise<ScriptedApi> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const api = new ScriptedApi(server, `http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    server.on('request', (request, response) => void api.answer(request, response));
    return api;
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const parts: Buffer[] = [];
    for await (const part of request as AsyncIterable<Buffer>) parts.push(part);
    const seen = {
      method: request.method ?? '',
      url: request.url ?? '',
      headers: request.headers,
      body: Buffer.concat(parts),
    };
    this.seen.push(seen);
    const reply = this.reply(seen);
    if (reply === 'cut') {
      response.writeHead(200, { 'content-length': '100' });
      response.write('short', () => request.socket.destroy());
      return;
    }
    response.writeHead(reply.status, { 'content-type': 'application/json', ...reply.headers });
    response.end(reply.bytes ?? (reply.json === undefined ? '' : JSON.stringify(reply.json)));
  }
}

let server: ScriptedApi;
let client: ApiClient;

beforeEach(async () => {
  server = await ScriptedApi.start();
  client = new ApiClient({ baseUrl: `${server.baseUrl}/base/` });
});
afterEach(async () => {
  await client.close();
  await server.stop();
});

describe('apiUrlProblem', () => {
  it.each(['https://api.example', 'http://127.0.0.1:8081', 'http://localhost', 'http://[::1]:80'])(
    'accepts %s',
    (url) => expect(apiUrlProblem(url, false)).toBeUndefined(),
  );

  it.each([
    'http://api.example',
    'http://127.0.0.1.example',
    'http://localhost.example',
    'ftp://127.0.0.1',
    'https://user:password@api.example',
    'https://api.example/?x=1',
    'api.example',
  ])('refuses %s', (url) => expect(apiUrlProblem(url, false)).toEqual(expect.any(String)));

  it('accepts http to another machine only when that is allowed', () => {
    expect(apiUrlProblem('http://api.example', true)).toBeUndefined();
    expect(() => new ApiClient({ baseUrl: 'http://api.example' })).toThrow(TypeError);
  });
});

describe('ApiClient', () => {
  it('adds what ties a call to its request, and never in place of a header of its own', async () => {
    let request = 0;
    const contextHeaders = (): Record<string, string> => {
      request += 1;
      return { 'x-request-id': `request-${request}`, authorization: 'Bearer other' };
    };
    server.reply = () => ({ status: 200, json: {} });
    const traced = new ApiClient({ baseUrl: server.baseUrl, contextHeaders });
    for (let call = 0; call < 2; call++)
      await traced.call({ method: 'GET', path: '/a', expect: [200], maxBytes: 100, tokens: fixedToken('own') });
    await traced.close();
    expect(server.seen.map(({ headers }) => [headers['x-request-id'], headers.authorization])).toEqual([
      ['request-1', 'Bearer own'],
      ['request-2', 'Bearer own'],
    ]);
  });
});

describe('HttpUploadApi', () => {
  const opened = {
    uploadId: UUID,
    folderId: UUID,
    resourceId: UUID,
    domain: 0,
    dedupKey: toBase64Url(new Uint8Array(32)),
    chunking: CHUNKING,
    packTargetBytes: 33_554_432,
    packMd5: false,
    expiresAt: 1_790_000_000,
  };
  const upload = (): HttpUploadApi => new HttpUploadApi(client, fixedToken('person'), fixedToken('device'));

  it('opens an upload with the token of the caller and the device', async () => {
    server.reply = () => ({ status: 201, json: { ...opened, added: 'by a newer API' } });
    expect(await upload().open(resource)).toEqual({ ...opened, dedupKey: new Uint8Array(32) });
    expect(server.seen[0]).toMatchObject({ method: 'POST', url: '/base/sealed/models/a%20b/uploads' });
    expect(server.seen[0]?.headers).toMatchObject({ authorization: 'Bearer person', 'azaion-device': 'device' });
  });

  it('takes an older API, which does not say, for one that wants the MD5 of packs', async () => {
    const { packMd5, ...older } = opened;
    expect(packMd5).toBe(false);
    server.reply = () => ({ status: 201, json: older });
    expect(await upload().open(resource)).toMatchObject({ packMd5: true });
  });

  it.each([
    ['with', { md5: new Uint8Array(16) }, { md5: 'AAAAAAAAAAAAAAAAAAAAAA' }],
    ['without', {}, {}],
  ])('announces a pack %s its MD5', async (_, given, sent) => {
    server.reply = () => ({
      status: 201,
      json: { packId: PACK, url: 'https://cdn.example/x', method: 'PUT', headers: {} },
    });
    const sha256 = new Uint8Array(32);
    await upload().addPack(UUID, { sizeBytes: 5, sha256, ...given });
    expect(JSON.parse(server.seen[0]!.body.toString())).toEqual({ sizeBytes: 5, sha256: toBase64Url(sha256), ...sent });
  });

  it.each([
    ['a missing member', { ...opened, uploadId: undefined }],
    ['a member of another type', { ...opened, domain: '0' }],
    ['a flag of another type', { ...opened, packMd5: 'no' }],
    ['a number out of bounds', { ...opened, packTargetBytes: 2 ** 40 }],
    ['a short key', { ...opened, dedupKey: toBase64Url(new Uint8Array(31)) }],
    ['loose base64', { ...opened, dedupKey: `${'A'.repeat(42)}B` }],
    ['a path in an id', { ...opened, uploadId: '../../users/000000000000000000000000' }],
    ['another chunker', { ...opened, chunking: { ...CHUNKING, maxBytes: 1 } }],
    ['an array', []],
    ['null', null],
  ])('refuses an answer with %s', async (_, json) => {
    server.reply = () => ({ status: 201, json });
    await expect(upload().open(resource)).rejects.toMatchObject({ code: 'api.unexpected' });
  });

  it('sends chunk ids as base64url and takes back only ids that it asked for', async () => {
    const entry = {
      packId: PACK,
      packSize: 100,
      packSha256: toBase64Url(new Uint8Array(32)),
      offset: 0,
      sealedLength: 50,
    };
    const ids = ['00'.repeat(16), 'ff'.repeat(16)];
    server.reply = () => ({ status: 200, json: [{ ...entry, id: '_____________________w' }] });
    expect(await upload().knownChunks(UUID, ids)).toMatchObject([{ id: 'ff'.repeat(16), sealedBytes: 50 }]);
    expect(JSON.parse(server.seen[0]!.body.toString())).toEqual({
      ids: ['AAAAAAAAAAAAAAAAAAAAAA', '_____________________w'],
    });
    server.reply = () => ({ status: 200, json: [{ ...entry, id: toBase64Url(new Uint8Array(16).fill(7)) }] });
    await expect(upload().knownChunks(UUID, ids)).rejects.toMatchObject({ code: 'api.unexpected' });
  });

  it('hands the signed headers of a pack on verbatim and refuses a split one', async () => {
    const target = {
      packId: PACK,
      url: 'https://cdn.example/x?sig=1',
      method: 'PUT',
      headers: { 'Content-MD5': 'x==' },
    };
    const pack = { sizeBytes: 5, sha256: new Uint8Array(32), md5: new Uint8Array(16) };
    server.reply = () => ({ status: 201, json: target });
    expect(await upload().addPack(UUID, pack)).toEqual({
      packId: PACK,
      target: { url: target.url, headers: target.headers },
    });
    server.reply = () => ({ status: 201, json: { ...target, headers: { a: 'b\r\nc: d' } } });
    await expect(upload().addPack(UUID, pack)).rejects.toMatchObject({ code: 'api.unexpected' });
    server.reply = () => ({ status: 201, json: { ...target, url: 'file:///etc/passwd' } });
    await expect(upload().addPack(UUID, pack)).rejects.toMatchObject({ code: 'api.unexpected' });
  });

  it('writes chunk tables as fixed-width records', async () => {
    server.reply = () => ({ status: 204 });
    await upload().putChunkTable(UUID, PACK, [{ id: new Uint8Array(16).fill(1), offset: 2, sealedBytes: 3 }]);
    expect(server.seen[0]).toMatchObject({ method: 'PUT', url: `/base/sealed/uploads/${UUID}/packs/${PACK}/chunks` });
    expect(server.seen[0]?.body.toString('hex')).toBe(`${'01'.repeat(16)}0000000200000003`);
  });

  it('tells a new version from one that existed', async () => {
    const request = { recipeKey: new Uint8Array(32), kind: 'file' as const, chunkSegments: 1, packSegments: 1 };
    server.reply = () => ({ status: 201, json: { version: 4 } });
    expect(await upload().commit(UUID, request)).toEqual({ version: 4, created: true });
    server.reply = () => ({ status: 200, json: { version: 4 } });
    expect(await upload().commit(UUID, request)).toEqual({ version: 4, created: false });
  });

  it.each([
    [401, {}, 'api.unauthorized'],
    [403, { code: 'folder.forbidden' }, 'resource.forbidden'],
    [403, { code: 'role.forbidden' }, 'api.forbidden'],
    [404, {}, 'upload.not-found'],
    [409, { code: 'upload.conflict' }, 'upload.conflict'],
    [422, { code: 'upload.refused' }, 'upload.refused'],
    [429, {}, 'login.rate-limited'],
    [500, { detail: 'secret stack' }, 'api.unexpected'],
    [302, {}, 'api.unexpected'],
    [503, {}, 'api.unreachable'],
  ])('maps %i %j to %s without the words of the API', async (status, json, code) => {
    server.reply = () => ({ status, json, headers: { 'retry-after': '7', location: 'http://elsewhere' } });
    const error: Error = await upload()
      .open(resource)
      .then(
        () => new Error('accepted'),
        (cause: unknown) => cause as Error,
      );
    expect(error).toMatchObject({ code });
    expect(error.message).not.toContain('secret');
  });

  it('names the packs that are gone', async () => {
    server.reply = () => ({ status: 409, json: { code: 'upload.pack-gone', packIds: [PACK, 'not a pack', 7] } });
    await expect(
      upload().commit(UUID, { recipeKey: new Uint8Array(32), kind: 'file', chunkSegments: 0, packSegments: 0 }),
    ).rejects.toMatchObject({ code: 'upload.pack-gone', details: { packIds: [PACK] } });
  });
});

describe('HttpGrantApi', () => {
  const answer = {
    grantId: UUID,
    statement: 'a.b.c',
    grantToken: 'd.e.f',
    sealedRecipeKey: { enc: toBase64Url(new Uint8Array(65)), ciphertext: toBase64Url(new Uint8Array(80)) },
    urls: [{ packId: PACK, url: 'https://cdn.example/1' }],
  };
  const request = { resource, version: undefined, recipientPoint: new Uint8Array(65), nonce: 'n' };

  it('asks for the newest version by leaving it out', async () => {
    server.reply = () => ({ status: 201, json: answer });
    const grant = await new HttpGrantApi(client, fixedToken('person')).grant(request);
    expect(grant).toMatchObject({ grantId: UUID, urls: answer.urls, sealedRecipeKey: { enc: new Uint8Array(65) } });
    expect(Object.keys(JSON.parse(server.seen[0]!.body.toString()) as object)).toEqual(['recipientPublicKey', 'nonce']);
    expect(server.seen[0]?.headers['azaion-device']).toBeUndefined();
  });

  it('refuses URLs of packs that it did not ask for', async () => {
    server.reply = () => ({ status: 200, json: [{ packId: 'cd'.repeat(16), url: 'https://cdn.example/1' }] });
    await expect(new HttpGrantApi(client, fixedToken('person')).packUrls(UUID, [PACK])).rejects.toMatchObject({
      code: 'api.unexpected',
    });
  });

  const compacted = {
    url: 'https://cdn.example/2',
    sha256: toBase64Url(new Uint8Array(32)),
    extents: [
      { start: 0, end: 10 },
      { start: 11, end: 20 },
    ],
  };

  it('reads which parts are left of a compacted pack', async () => {
    server.reply = () => ({ status: 200, json: [{ packId: PACK, compacted }] });
    const { url, extents } = compacted;
    expect(await new HttpGrantApi(client, fixedToken('person')).packUrls(UUID, [PACK])).toEqual([
      { packId: PACK, url, compacted: { extents, sha256: new Uint8Array(32) } },
    ]);
  });

  it.each([
    ['without a URL', { packId: PACK }],
    ['whose parts have no URL', { packId: PACK, url: compacted.url, compacted: { ...compacted, url: undefined } }],
    ['without parts', { packId: PACK, compacted: { ...compacted, extents: [] } }],
    [
      'with parts that touch',
      {
        packId: PACK,
        compacted: {
          ...compacted,
          extents: [
            { start: 0, end: 5 },
            { start: 5, end: 9 },
          ],
        },
      },
    ],
    [
      'with a part that ends beyond any pack',
      { packId: PACK, compacted: { ...compacted, extents: [{ start: 0, end: 2 ** 26 }] } },
    ],
    [
      'with too many parts',
      {
        packId: PACK,
        compacted: {
          ...compacted,
          extents: Array.from({ length: 257 }, (_, at) => ({ start: 2 * at, end: 2 * at + 1 })),
        },
      },
    ],
    ['with half a hash', { packId: PACK, compacted: { ...compacted, sha256: toBase64Url(new Uint8Array(16)) } }],
  ])('refuses a pack %s', async (_, answered) => {
    server.reply = () => ({ status: 200, json: [answered] });
    await expect(new HttpGrantApi(client, fixedToken('person')).packUrls(UUID, [PACK])).rejects.toMatchObject({
      code: 'api.unexpected',
    });
  });

  it('reads a segment up to its limit and not one byte more', async () => {
    const grants = new HttpGrantApi(client, fixedToken('person'));
    server.reply = () => ({ status: 200, bytes: new Uint8Array(10) });
    expect(await grants.segment(UUID, 'root', 0, 10)).toHaveLength(10);
    await expect(grants.segment(UUID, 'root', 0, 9)).rejects.toMatchObject({ code: 'api.unexpected' });
  });

  it('takes an answer that ends early for an unreachable API, never for a shorter one', async () => {
    server.reply = () => 'cut';
    await expect(new HttpGrantApi(client, fixedToken('person')).segment(UUID, 'root', 0, 1000)).rejects.toMatchObject({
      code: 'api.unreachable',
    });
  });

  it('tells a grant that is over from a resource that is not there', async () => {
    const grants = new HttpGrantApi(client, fixedToken('person'));
    server.reply = () => ({ status: 404, json: { code: 'grant.not-found' } });
    await expect(grants.segment(UUID, 'root', 0, 10)).rejects.toMatchObject({ code: 'api.grant-gone' });
    await expect(grants.packUrls(UUID, [PACK])).rejects.toMatchObject({ code: 'api.grant-gone' });
    server.reply = () => ({ status: 404, json: { code: 'resource.not-found' } });
    await expect(grants.segment(UUID, 'root', 0, 10)).rejects.toMatchObject({ code: 'resource.not-found' });
  });

  it('says that nothing listens', async () => {
    await server.stop();
    await expect(new HttpGrantApi(client, fixedToken('person')).grant(request)).rejects.toMatchObject({
      code: 'api.unreachable',
    });
  });

  it.each([401, 403])('after %i renews the token once and repeats the call once', async (status) => {
    const renewals: string[] = [];
    const tokens: AccessTokens = {
      current: () => Promise.resolve('old'),
      renew: (refused) => {
        renewals.push(refused);
        return Promise.resolve('new');
      },
    };
    server.reply = ({ headers }) =>
      headers.authorization === 'Bearer new' ? { status: 201, json: answer } : { status, json: {} };
    expect(await new HttpGrantApi(client, tokens).grant(request)).toMatchObject({ grantId: UUID });
    server.reply = () => ({ status, json: {} });
    await expect(new HttpGrantApi(client, tokens).grant(request)).rejects.toMatchObject({
      code: status === 401 ? 'api.unauthorized' : 'api.forbidden',
    });
    expect(renewals).toEqual(['old', 'old']);
    expect(server.seen).toHaveLength(4);
  });

  it.each(['folder.forbidden', 'resource.forbidden', 'role.forbidden'])(
    'renews neither session when the API says %s: no login helps',
    async (code) => {
      const renewals: string[] = [];
      const tokens = (name: string): AccessTokens => ({
        current: () => Promise.resolve(name),
        renew: (refused) => {
          renewals.push(refused);
          return Promise.resolve('new');
        },
      });
      server.reply = () => ({ status: 403, json: { code } });
      const grants = new HttpGrantApi(client, tokens('person'), tokens('device'));
      await expect(grants.grant(request)).rejects.toMatchObject({
        code: code === 'role.forbidden' ? 'api.forbidden' : 'resource.forbidden',
      });
      expect([renewals, server.seen.length]).toEqual([[], 1]);
    },
  );
});

describe('HttpAuthApi', () => {
  const issued = { token: 'x.y.z', access_token: 'x.y.z', token_type: 'Bearer', expires_in: 900, refresh_token: 'r' };

  it('logs in and hides what it got', async () => {
    server.reply = () => ({ status: 200, json: issued });
    const tokens = await new HttpAuthApi(client).login('a@example.com', new Secret('password'));
    expect(tokens.accessToken.reveal()).toBe('x.y.z');
    expect(tokens.expiresInSeconds).toBe(900);
    expect(JSON.stringify(tokens)).not.toContain('x.y.z');
  });

  it.each([
    [401, 'token.missing'],
    [401, 'login.wrong-credentials'],
    [403, 'anything.else'],
    [409, 'legacy.wrong'],
    [400, 'request.invalid'],
  ])('answers %i %s with one error for all wrong credentials', async (status, code) => {
    server.reply = () => ({ status, json: { code, detail: 'No such user' } });
    await expect(new HttpAuthApi(client).login('a@example.com', new Secret('p'))).rejects.toMatchObject({
      code: 'login.wrong-credentials',
      message: 'The e-mail address or the password is wrong.',
    });
  });

  it('keeps the time to wait', async () => {
    server.reply = () => ({ status: 429, headers: { 'retry-after': '42' } });
    await expect(new HttpAuthApi(client).login('a@example.com', new Secret('p'))).rejects.toMatchObject({
      code: 'login.rate-limited',
      details: { retryAfterSeconds: 42 },
    });
  });

  it.each([
    [409, 'device.already-enrolled', 'device.already-enrolled'],
    [422, 'device.proof-invalid', 'device.proof-invalid'],
    [401, 'device.revoked', 'device.revoked'],
  ])('maps a refused enrolment %i %s', async (status, code, expected) => {
    server.reply = () => ({ status, json: { code } });
    await expect(
      new HttpAuthApi(client).enrolmentChallenge('azj-0001', 'azj-0001@azaion.com', new Secret('p')),
    ).rejects.toMatchObject({ code: expected });
  });
});

describe('HttpCatalogue', () => {
  it('refuses a list with a name that could leave its folder', async () => {
    const entry = { name: 'm.onnx', kind: 'file', latestVersion: 1, totalBytes: 5 };
    server.reply = () => ({ status: 200, json: { resources: [entry] } });
    expect(await new HttpCatalogue(client, fixedToken('t')).list('models')).toEqual([entry]);
    server.reply = () => ({ status: 200, json: { resources: [{ ...entry, name: '../m' }] } });
    await expect(new HttpCatalogue(client, fixedToken('t')).list('models')).rejects.toMatchObject({
      code: 'api.unexpected',
    });
  });
});

describe('HttpDesiredApi', () => {
  const { signal } = new AbortController();
  const api = (): HttpDesiredApi => new HttpDesiredApi(client, fixedToken('device'), 'azj-0001');
  const model = { folder: 'models', name: 'detector.onnx' };
  const images = { folder: 'images', name: 'field' };

  it('reads what is wanted, and asks with the tag of what it has', async () => {
    const json = {
      resources: [
        { ...model, version: 3 },
        { ...model, name: 'b.onnx', version: 'latest', newest: 7 },
        { ...model, name: 'c.onnx', version: 'latest', added: 'by a newer API' },
      ],
      images: { ...images, version: 2 },
    };
    server.reply = () => ({ status: 200, json, headers: { etag: '"7"' } });
    expect(await api().desired(undefined, signal)).toEqual({
      etag: '"7"',
      state: {
        resources: [
          { ...model, version: 3, latest: false },
          { ...model, name: 'b.onnx', version: 7, latest: true },
          { ...model, name: 'c.onnx', version: undefined, latest: true },
        ],
        images: { ...images, version: 2, latest: false },
      },
    });
    server.reply = () => ({ status: 304, headers: { etag: '"7"' } });
    expect(await api().desired('"7"', signal)).toBeUndefined();
    expect(server.seen.map(({ method, url, headers }) => [method, url, headers['if-none-match']])).toEqual([
      ['GET', '/base/devices/me/desired', undefined],
      ['GET', '/base/devices/me/desired', '"7"'],
    ]);
    expect(server.seen[0]?.headers.authorization).toBe('Bearer device');
  });

  it('reads that nothing is wanted, from an API that sends no tag', async () => {
    server.reply = () => ({ status: 200, json: { resources: [], images: null } });
    expect(await api().desired(undefined, signal)).toEqual({
      etag: undefined,
      state: { resources: [], images: undefined },
    });
  });

  it('does not take "unchanged" for an answer when it has nothing', async () => {
    server.reply = () => ({ status: 304 });
    await expect(api().desired(undefined, signal)).rejects.toMatchObject({ code: 'api.unexpected' });
  });

  it.each([
    ['no resources', { images: null }],
    ['no images member', { resources: [] }],
    ['a version of 0', { resources: [{ ...model, version: 0 }], images: null }],
    ['a version out of bounds', { resources: [{ ...model, version: 2 ** 31 }], images: null }],
    ['a version in words', { resources: [{ ...model, version: 'newest' }], images: null }],
    ['a number that is a text', { resources: [{ ...model, version: '3' }], images: null }],
    ['a newest of 0', { resources: [{ ...model, version: 'latest', newest: 0 }], images: null }],
    ['a path in a name', { resources: [{ folder: 'models', name: '../x', version: 1 }], images: null }],
    ['a path in a folder', { resources: [{ folder: '..', name: 'x', version: 1 }], images: null }],
    ['images without a version', { resources: [], images }],
    ['more than 256 resources', { resources: Array(257).fill({ ...model, version: 1 }), images: null }],
    ['a list', []],
  ])('refuses an answer with %s', async (_, json) => {
    server.reply = () => ({ status: 200, json });
    await expect(api().desired(undefined, signal)).rejects.toMatchObject({ code: 'api.unexpected' });
  });

  it('takes 256 resources', async () => {
    server.reply = () => ({
      status: 200,
      json: { resources: Array(256).fill({ ...model, version: 1 }), images: null },
    });
    expect((await api().desired(undefined, signal))?.state.resources).toHaveLength(256);
  });

  it('reports under its own serial, and wants to hear that nothing came back', async () => {
    const report = {
      loaderVersion: '1.2.3',
      binding: 'tpm',
      resources: [{ ...model, version: 3 }],
      images: { ...images, version: 2, state: 'ready' },
    };
    server.reply = () => ({ status: 204 });
    await api().report(report, signal);
    expect(server.seen[0]).toMatchObject({ method: 'POST', url: '/base/devices/azj-0001/report' });
    expect(JSON.parse(server.seen[0]?.body.toString() ?? '')).toEqual(report);
    server.reply = () => ({ status: 200, json: {} });
    await expect(api().report(report, signal)).rejects.toMatchObject({ code: 'api.unexpected' });
  });

  it.each([
    [401, 'api.unauthorized'],
    [403, 'api.forbidden'],
  ])('says of a refusal with %i what it is', async (status, code) => {
    server.reply = () => ({ status, json: {} });
    await expect(api().desired(undefined, signal)).rejects.toMatchObject({ code });
  });

  it('is ended by its signal', async () => {
    await expect(api().desired(undefined, AbortSignal.abort(new Error('stopping')))).rejects.toThrow();
    expect(server.seen).toEqual([]);
  });
});
