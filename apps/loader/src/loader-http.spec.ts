import { createHash, createHmac, createPublicKey, type JsonWebKey, randomBytes, randomUUID } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { type IncomingMessage, request as httpRequest } from 'node:http';
import { get as httpsGet } from 'node:https';
import { connect, type Socket } from 'node:net';
import { once } from 'node:events';
import { join } from 'node:path';
import { Readable } from 'node:stream';

import type { IssuedTokens } from '@azaion/adapters/resource-api';
import { TarArchiveInspector } from '@azaion/adapters/image-archive';
import { generateP256KeyPair, importSigningKey, recipientThumbprint, type SigningKey, signRaw } from '@azaion/crypto';
import {
  AccessTokenIssuer,
  type AccessTokenProfile,
  type Caller,
  IdentityError,
  JwksTokenVerifier,
  LOCAL_TOKEN_TYPE,
  type Role,
} from '@azaion/identity';
import { InMemoryJwksSource } from '@azaion/identity/testing';
import { type ByteRange, type Clock, ManualClock, type ResourceName, Secret } from '@azaion/kernel';
import { undeclaredRoutes } from '@azaion/nest-support';
import {
  type GrantAnswer,
  type GrantApi,
  type GrantRequest,
  type OpenedUpload,
  type PackLocation,
  type PackRef,
  InlineChunkOpener,
  InlineChunkSealer,
  PublishResource,
  type Recipient,
  ResourceError,
  type UploadApi,
} from '@azaion/split-resource';
import {
  InMemoryAdminApi,
  InMemoryGrantApi,
  InMemoryObjectStore,
  InMemoryPackSink,
  InMemoryPackSource,
  InMemoryPackStore,
  InMemorySegmentStore,
  InMemoryStatementTrust,
  InMemoryUploadApi,
  softwareRecipient,
} from '@azaion/split-resource/testing';
import { pseudoRandomBytes, selfSignedCertificate, tempDirectory } from '@azaion/testing';
import type { KeySource } from '@azaion/unlock';
import { InMemoryKeySource } from '@azaion/unlock/testing';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';

import { readLoaderConfig } from './config.js';
import { createLoader } from './create-loader.js';
import type { LoaderAdapters, LoaderDevice } from './loader-adapters.js';
import { CallerApis, type TokenBearer } from './session/caller-apis.js';
import { CallerSessions } from './session/caller-sessions.js';

const ISSUER = { issuer: 'azaion-admin-api', audience: 'azaion' };
const MIB = 1024 * 1024;
const MAX_UPLOAD_BYTES = 4 * MIB;
const PEOPLE: Record<string, Role> = {
  'operator@azaion.com': 'Operator',
  'second@azaion.com': 'Operator',
  'uploader@azaion.com': 'ResourceUploader',
  'nobody@azaion.com': 'None',
  'admin@azaion.com': 'Admin',
  'companion@azaion.com': 'CompanionPC',
};
const PASSWORD = 'correct horse battery';

/** Packs that can be slowed down and counted. */
class WatchedPackSource extends InMemoryPackSource {
  gate: Promise<void> | undefined;
  ended = 0;

  override async open(location: PackLocation, range: ByteRange): Promise<Readable> {
    await this.gate;
    const stream = await super.open(location, range);
    stream.once('close', () => (this.ended += 1));
    return stream;
  }
}

/** Packs that are counted as they are kept. */
class WatchedPackStore extends InMemoryPackStore {
  writtenBytes = 0;

  override async write(folderId: string, pack: PackRef, startByte: number, bytes: Uint8Array): Promise<void> {
    this.writtenBytes += bytes.length;
    await super.write(folderId, pack, startByte, bytes);
  }
}

/** A whole Loader on a free port, with an Admin API and a CDN in memory, and an issuer of real tokens. */
class LoaderUnderTest {
  readonly clock = new ManualClock(Date.now());
  readonly objects = new InMemoryObjectStore();
  readonly source = new WatchedPackSource(this.objects);
  readonly store = new WatchedPackStore(64 * MIB);
  readonly recipients: { readonly userId: string; readonly thumbprint: string }[] = [];
  readonly loggedOut: string[] = [];
  readonly users = new Map<string, string>();
  grantError: Error | undefined;
  /** Folder permissions, where a test has some. */
  mayRead: (caller: Caller, folder: string) => boolean = () => true;
  /** The key that signs tokens, and its public half as a verifier has it. */
  signing!: SigningKey;
  loginError: Error | undefined;
  app!: NestFastifyApplication;
  url!: string;
  admin!: InMemoryAdminApi;
  jwks!: InMemoryJwksSource;
  private issuer!: AccessTokenIssuer;
  private foreignIssuer!: AccessTokenIssuer;

  static async start(env: Record<string, string> = {}): Promise<LoaderUnderTest> {
    const loader = new LoaderUnderTest();
    await loader.open(env);
    return loader;
  }

  async stop(): Promise<void> {
    this.app.getHttpServer().closeAllConnections(); // the clients of these tests keep theirs
    await this.app.close();
  }

  token(email: string, options: { readonly sid?: string; readonly forged?: boolean } = {}): Promise<string> {
    const userId = this.users.get(email) ?? randomUUID();
    this.users.set(email, userId);
    const claims = { userId, email, role: PEOPLE[email] ?? 'None', sessionId: options.sid ?? randomUUID() };
    return (options.forged === true ? this.foreignIssuer : this.issuer).issue(claims);
  }

  /** A token as the Admin API would sign it, but for these members. */
  signed(profile: Partial<AccessTokenProfile>, clock: Clock = this.clock): Promise<string> {
    const issuer = new AccessTokenIssuer(() => Promise.resolve(this.signing), clock, {
      ...ISSUER,
      lifetimeSeconds: 900,
      ...profile,
    });
    return issuer.issue({ userId: randomUUID(), email: 'operator@azaion.com', role: 'ApiAdmin', sessionId: 's' });
  }

  async publish(name: string, content: Uint8Array, folder = 'models'): Promise<void> {
    await new PublishResource(new InMemoryUploadApi(this.admin), new InMemoryPackSink(this.objects)).run({
      resource: { folder, name },
      kind: 'file',
      content: Readable.from([Buffer.from(content)], { objectMode: false }),
      maxBytes: 64 * MIB,
    });
  }

  async load(
    token: string | undefined,
    name: string,
    body: object = { filename: name, folder: 'models' },
  ): Promise<Response> {
    return fetch(`${this.url}/load/${encodeURIComponent(name)}`, {
      method: 'POST',
      headers: { ...bearer(token), 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
  }

  private async open(env: Record<string, string>): Promise<void> {
    const jwks = new InMemoryJwksSource();
    const [own, foreign] = await Promise.all([jwks.publish(), generateP256KeyPair()]);
    const profile = { ...ISSUER, lifetimeSeconds: 900 };
    this.signing = own;
    this.jwks = jwks;
    this.issuer = new AccessTokenIssuer(() => Promise.resolve(own), this.clock, profile);
    this.foreignIssuer = new AccessTokenIssuer(
      () => importSigningKey(own.kid, foreign.privateJwk),
      this.clock,
      profile,
    );
    this.admin = await InMemoryAdminApi.create(this.objects, { clock: this.clock });
    const config = readLoaderConfig({
      RESOURCE_API_URL: 'https://api.example',
      LOADER_MAX_UPLOAD_BYTES: String(MAX_UPLOAD_BYTES),
      LOADER_ALLOWED_HOSTS: 'loader.internal',
      ...env,
    });
    const adapters: LoaderAdapters = {
      clock: this.clock,
      auth: { login: (email, password) => this.logIn(email, password), logout: (token) => this.logOut(token) },
      apis: new InMemoryCallerApis(this),
      verifier: new JwksTokenVerifier(jwks, this.clock, ISSUER),
      sessions: new CallerSessions(this.clock),
      trust: new InMemoryStatementTrust(() => this.admin.statementKeys()),
      sources: [this.source],
      sink: new InMemoryPackSink(this.objects),
      store: this.store,
      segments: new InMemorySegmentStore(),
      opener: new InlineChunkOpener(),
      sealer: new InlineChunkSealer(),
      inspector: new TarArchiveInspector(),
      device: env['LOADER_LOCAL_TRUST'] === undefined ? undefined : new DeviceUnderTest(this),
      binding: 'none',
      bindingReason: 'Under test.',
      modelCacheDir: '/data/packs',
      dataDirectory: { name: 'data-directory', check: () => Promise.resolve() },
      adminApi: { name: 'admin-api', check: () => Promise.resolve() },
      close: () => Promise.resolve(),
    };
    this.app = await createLoader(config, adapters, '1.2.3', { log: { level: 'silent' } });
    await this.app.listen(0, '127.0.0.1');
    this.url = (await this.app.getUrl()).replace('[::1]', '127.0.0.1');
  }

  private async logIn(email: string, password: Secret<string>): Promise<IssuedTokens> {
    if (this.loginError !== undefined) throw this.loginError;
    if (PEOPLE[email] === undefined || password.reveal() !== PASSWORD)
      throw new IdentityError('login.wrong-credentials', 'The e-mail address or the password is wrong.');
    const accessToken = new Secret(await this.token(email));
    return { accessToken, expiresInSeconds: 900, refreshToken: undefined };
  }

  private logOut(token: string): Promise<void> {
    this.loggedOut.push(token);
    return Promise.resolve();
  }
}

/** The device's own session, logged in already. */
class DeviceUnderTest implements LoaderDevice {
  readonly serial = 'azj-0001';
  readonly authenticated = true;
  private readonly keys = softwareRecipient(this.serial);

  constructor(private readonly loader: LoaderUnderTest) {}

  async bearer(): Promise<TokenBearer> {
    const token = await this.loader.token('azj-0001@azaion.com');
    const caller: Caller = {
      userId: 'azj-0001',
      email: 'azj-0001@azaion.com',
      role: 'CompanionPC',
      sessionId: 'device',
      tokenId: 'device',
      expiresAt: this.loader.clock.nowMs() / 1000 + 900,
      deviceSerial: this.serial,
    };
    return { caller, token };
  }

  recipient(): Promise<Recipient> {
    return Promise.resolve(this.keys);
  }

  start(): void {
    // nothing to do: it is logged in
  }

  stop(): void {
    // nothing to do: it never renews
  }
}

/** The Admin API in memory with its two permission rules, seen by one caller. */
class InMemoryCallerApis extends CallerApis {
  constructor(private readonly loader: LoaderUnderTest) {
    super();
  }

  override grants(bearer: TokenBearer): GrantApi {
    const { loader } = this;
    return new (class extends InMemoryGrantApi {
      override async grant(request: GrantRequest): Promise<GrantAnswer> {
        if (loader.grantError !== undefined) throw loader.grantError;
        if (!loader.mayRead(bearer.caller, request.resource.folder))
          throw new ResourceError('resource.forbidden', 'The caller may not read this folder.');
        loader.recipients.push({
          userId: bearer.caller.userId,
          thumbprint: recipientThumbprint(request.recipientPoint),
        });
        return super.grant(request);
      }
    })(loader.admin);
  }

  override uploads(bearer: TokenBearer): UploadApi {
    return new (class extends InMemoryUploadApi {
      override open(name: ResourceName): Promise<OpenedUpload> {
        return bearer.caller.role === 'ResourceUploader'
          ? super.open(name)
          : Promise.reject(new ResourceError('resource.forbidden', 'The caller may not publish into this folder.'));
      }
    })(this.loader.admin);
  }

  override archiveKeys(): KeySource {
    return new InMemoryKeySource();
  }

  override list(): Promise<readonly never[]> {
    return Promise.resolve([]);
  }
}

function bearer(token: string | undefined): Record<string, string> {
  return token === undefined ? {} : { authorization: `Bearer ${token}` };
}

async function problem(response: Response): Promise<Record<string, unknown>> {
  expect(response.headers.get('content-type')).toContain('application/problem+json');
  return (await response.json()) as Record<string, unknown>;
}

/** A request with a path and headers exactly as given. */
function rawStatus(url: string, path: string, headers: Record<string, string> = {}): Promise<number> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const request = httpRequest({ hostname, port, path, method: 'POST', headers }, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    request.once('error', reject);
    request.end();
  });
}

let loader: LoaderUnderTest;
let operator: string;
let uploader: string;

beforeEach(async () => {
  loader = await LoaderUnderTest.start();
  operator = await loader.token('operator@azaion.com');
  uploader = await loader.token('uploader@azaion.com');
});
afterEach(() => loader.stop());

describe('every route', () => {
  it('declares who may call it', () => expect(undeclaredRoutes(loader.app)).toEqual([]));

  it.each([
    ['POST', '/load/a.onnx'],
    ['POST', '/upload/a.onnx'],
    ['GET', '/resources/models/a.onnx'],
    ['HEAD', '/resources/models/a.onnx'],
    ['GET', '/resources/models'],
    ['POST', '/logout'],
  ])('%s %s needs a token that the Admin API signed', async (method, path) => {
    const forged = await loader.token('operator@azaion.com', { forged: true });
    for (const token of [undefined, 'abc', forged]) {
      const response = await fetch(loader.url + path, { method, headers: bearer(token) });
      expect(response.status).toBe(401);
    }
  });

  it.each(['/load/a.onnx', '/upload/a.onnx'])('POST %s is closed to the role None', async (path) => {
    const nobody = await loader.token('nobody@azaion.com');
    const response = await fetch(loader.url + path, { method: 'POST', headers: bearer(nobody) });
    expect(response.status).toBe(403);
  });

  it('answers only under names that cannot be rebound', async () => {
    const status = (headers: Record<string, string>): Promise<number> => rawStatus(loader.url, '/logout', headers);
    expect(await status({ host: 'attacker.example' })).toBe(421);
    expect(await status({ host: 'loader.internal' })).toBe(401);
    expect(await status({ host: '127.0.0.1:1', origin: 'http://attacker.example' })).toBeGreaterThanOrEqual(403);
  });

  it.each([
    '..',
    '.hidden',
    'a/b',
    '../../etc/passwd',
    'a\0',
    'a%2e%2e',
    'ä',
    'a b',
    '',
    'x'.repeat(201),
    '．．',
    'a\\b',
  ])('refuses the name %j with 422 before anything is asked for', async (name) => {
    const asFile = await loader.load(operator, name, { filename: name, folder: 'models' });
    // Client libraries resolve these two by themselves: `/load/` is no route, `/` is the status page, which takes no POST.
    expect(asFile.status).toBe(name === '' ? 404 : name === '..' ? 405 : 422);
    const asFolder = await loader.load(operator, 'a.onnx', { filename: 'a.onnx', folder: name });
    expect(asFolder.status).toBe(422);
    expect(loader.recipients).toEqual([]);
  });

  it('refuses traversal that no client library would send', async () => {
    for (const path of ['/load/../../etc/passwd', '/load/..%2f..%2fetc%2fpasswd', '/upload/%2e%2e%2fx', '/load/a%00'])
      expect(await rawStatus(loader.url, path, bearer(operator))).toBe(422);
  });
});

describe('attacks on tokens (RFC 8725), over HTTP', () => {
  const base64url = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const statusOf = async (token: string): Promise<number> =>
    (await fetch(`${loader.url}/resources/models`, { headers: bearer(token) })).status;

  it('accepts the token that all of them are made of', async () => {
    expect(await statusOf(await loader.signed({}))).toBe(200);
  });

  it.each(['none', 'None', 'NONE', 'nOnE'])('§2.1: refuses alg %s', async (alg) => {
    const [, payload = '', signature = ''] = (await loader.signed({})).split('.');
    const header = base64url({ alg, typ: 'at+jwt', kid: loader.signing.kid });
    for (const end of ['', signature]) expect(await statusOf(`${header}.${payload}.${end}`)).toBe(401);
  });

  it('§2.1: refuses HS256 keyed with the public key in any form', async () => {
    const [, payload = ''] = (await loader.signed({})).split('.');
    const set = (await loader.jwks.currentKeys()) as { readonly keys: readonly JsonWebKey[] };
    const publicKey = createPublicKey({ key: set.keys[0] ?? {}, format: 'jwk' });
    for (const secret of [
      publicKey.export({ type: 'spki', format: 'pem' }),
      publicKey.export({ type: 'spki', format: 'der' }),
      JSON.stringify(set.keys[0]),
    ]) {
      const input = `${base64url({ alg: 'HS256', typ: 'at+jwt', kid: loader.signing.kid })}.${payload}`;
      expect(await statusOf(`${input}.${createHmac('sha256', secret).update(input).digest('base64url')}`)).toBe(401);
    }
  });

  it('§3.8, §3.9, §3.11: refuses another issuer, audience and type', async () => {
    for (const profile of [{ issuer: 'other' }, { audience: 'other' }, { type: 'JWT' }, { type: LOCAL_TOKEN_TYPE }])
      expect(await statusOf(await loader.signed(profile))).toBe(401);
  });

  it('refuses what has expired and what is not valid yet, and says which token it was', async () => {
    for (const hours of [-1, 1]) {
      const clock = new ManualClock(loader.clock.nowMs() + hours * 3600_000);
      const answer = await fetch(`${loader.url}/resources/models`, { headers: bearer(await loader.signed({}, clock)) });
      expect(answer.status).toBe(401);
      expect(answer.headers.get('www-authenticate')).toBe('Bearer error="invalid_token"');
    }
  });

  it('§3.10: refuses an unknown kid, and keys and addresses in the header, and fetches nothing for them', async () => {
    expect(await statusOf(await loader.signed({}))).toBe(200);
    const before = loader.jwks.fetches;
    const { publicJwk, privateJwk } = await generateP256KeyPair();
    const [, payload = ''] = (await loader.signed({})).split('.');
    for (const extra of [
      { kid: 'unknown' },
      { jwk: publicJwk },
      { jku: 'https://attacker.example/jwks.json' },
      { x5u: 'https://attacker.example/x.pem' },
      { crit: ['exp'] },
    ])
      for (let turn = 0; turn < 5; turn += 1) {
        const input = `${base64url({ alg: 'ES256', typ: 'at+jwt', kid: loader.signing.kid, ...extra })}.${payload}`;
        const signature = Buffer.from(signRaw(privateJwk, Buffer.from(input))).toString('base64url');
        expect(await statusOf(`${input}.${signature}`)).toBe(401);
      }
    expect(loader.jwks.fetches).toBe(before);
  });

  it('refuses a role that was raised, and a token cut anywhere', async () => {
    const [header = '', payload = '', signature = ''] = operator.split('.');
    const claims = JSON.parse(Buffer.from(payload, 'base64url').toString()) as Record<string, unknown>;
    expect(await statusOf(`${header}.${base64url({ ...claims, role: 'ApiAdmin' })}.${signature}`)).toBe(401);
    for (let length = 0; length < operator.length; length += 41)
      expect(await statusOf(operator.slice(0, length))).toBe(401);
  });
});

describe('fifty clients with different users at once', () => {
  const CLIENTS = 50;
  const folderOf = (client: number): string => `folder-${String(client)}`;
  const contentOf = (client: number): Buffer => Buffer.from(`belongs to ${String(client)} alone`.repeat(50));

  it('never see each other’s rights or content', async () => {
    const owners = new Map<string, string>();
    const tokens = await Promise.all(
      Array.from({ length: CLIENTS }, async (_, client) => {
        await loader.publish('model.bin', contentOf(client), folderOf(client));
        const email = `client-${String(client)}@azaion.com`;
        PEOPLE[email] = 'Operator';
        const token = await loader.token(email);
        owners.set(loader.users.get(email) ?? '', folderOf(client));
        return token;
      }),
    );
    loader.mayRead = (caller, folder) => owners.get(caller.userId) === folder;
    const body = (client: number): object => ({ filename: 'model.bin', folder: folderOf(client) });
    // Each asks for its own and for four others', all of them at the same time, several times over.
    const answers = await Promise.all(
      tokens.flatMap((token, client) =>
        [0, 1, 7, 25, 49].map(async (distance) => {
          const wanted = (client + distance) % CLIENTS;
          const answer = await loader.load(token, 'model.bin', body(wanted));
          return { own: distance === 0, wanted, status: answer.status, bytes: Buffer.from(await answer.arrayBuffer()) };
        }),
      ),
    );
    for (const { own, wanted, status, bytes } of answers) {
      expect(status).toBe(own ? 200 : 403);
      expect(bytes.equals(contentOf(wanted))).toBe(own);
    }
    expect(new Set(loader.recipients.map(({ thumbprint }) => thumbprint)).size).toBe(CLIENTS);
  });
});

describe('POST /login (F1)', () => {
  const login = (body: object): Promise<Response> =>
    fetch(`${loader.url}/login`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });

  it("hands out the Admin API's token after verifying it", async () => {
    const response = await login({ email: 'operator@azaion.com', password: PASSWORD });
    expect(response.status).toBe(200);
    expect(await response.json()).toEqual({
      status: 'ok',
      access_token: expect.stringMatching(/^[\w-]+\.[\w-]+\.[\w-]+$/) as string,
      token_type: 'Bearer',
      expires_in: 900,
      role: 'Operator',
    });
  });

  it('gives one answer for an unknown person and a wrong password', async () => {
    const [unknown, wrong] = await Promise.all([
      login({ email: 'unknown@azaion.com', password: PASSWORD }).then(problem),
      login({ email: 'operator@azaion.com', password: 'wrong' }).then(problem),
    ]);
    expect({ ...unknown, requestId: '' }).toEqual({ ...wrong, requestId: '' });
    expect(wrong).toMatchObject({ status: 401, code: 'login.wrong-credentials' });
  });

  it('never hands out a token that does not verify', async () => {
    loader.clock.setWall(Date.now() - 3600_000); // the token that follows is from the future for nobody, then expired
    const stale = await loader.token('operator@azaion.com');
    loader.clock.setWall(Date.now());
    Object.assign(loader, { token: () => Promise.resolve(stale) });
    const body = await problem(await login({ email: 'operator@azaion.com', password: PASSWORD }));
    expect(body).toMatchObject({ status: 502, code: 'api.unexpected' });
    expect(JSON.stringify(body)).not.toContain(stale);
  });

  it('says 502 when the Admin API cannot be reached, not 401', async () => {
    loader.loginError = new ResourceError('api.unreachable', 'The Admin API cannot be reached.');
    expect((await login({ email: 'operator@azaion.com', password: PASSWORD })).status).toBe(502);
  });

  it.each([{}, { email: 'a@b.c' }, { email: 1, password: 2 }, { email: 'a@b.c', password: 'p', hardware: 'x' }, []])(
    'refuses the body %j with 422',
    async (body) => expect((await login(body)).status).toBe(422),
  );

  it('lets an address try ten times a minute', async () => {
    const statuses: number[] = [];
    for (let turn = 0; turn < 11; turn += 1)
      statuses.push((await login({ email: 'operator@azaion.com', password: 'wrong' })).status);
    expect(statuses).toEqual([...Array<number>(10).fill(401), 429]);
    const limited = await login({ email: 'operator@azaion.com', password: PASSWORD });
    expect(Number(limited.headers.get('retry-after'))).toBeGreaterThan(0);
    loader.clock.advance(60_000);
    expect((await login({ email: 'operator@azaion.com', password: PASSWORD })).status).toBe(200);
  });
});

describe('POST /load/{filename} (F2)', () => {
  const content = randomBytes(3 * MIB);

  it.each([0, 1, 100_000, 3 * MIB])('gives back %i bytes exactly, with what describes them', async (sizeBytes) => {
    const plaintext = content.subarray(0, sizeBytes);
    await loader.publish('a.onnx', plaintext);
    const response = await loader.load(operator, 'a.onnx');
    expect(response.status).toBe(200);
    expect(Object.fromEntries(response.headers)).toMatchObject({
      'content-type': 'application/octet-stream',
      'content-length': String(sizeBytes),
      'x-resource-version': '1',
      etag: expect.stringMatching(/^"1-[0-9a-f]{64}"$/) as string,
    });
    // The publisher's word for the hash is not passed on as one's own.
    expect(response.headers.has('repr-digest')).toBe(false);
    expect(Buffer.from(await response.arrayBuffer()).equals(plaintext)).toBe(true);
  });

  it('names the hash of the whole once the verifier has compared it (RFC 9530), also beside a part', async () => {
    await loader.publish('a.onnx', content);
    loader.admin.verified = true;
    const digest = `sha-256=:${createHash('sha256').update(content).digest('base64')}:`;
    const whole = await loader.load(operator, 'a.onnx');
    expect(whole.headers.get('repr-digest')).toBe(digest);
    await whole.arrayBuffer();
    const path = `${loader.url}/resources/models/a.onnx`;
    const part = await fetch(path, { headers: { authorization: `Bearer ${operator}`, range: 'bytes=5-9' } });
    expect({ status: part.status, digest: part.headers.get('repr-digest') }).toEqual({ status: 206, digest });
    await part.arrayBuffer();
  });

  it('wants the same name twice', async () => {
    await loader.publish('a.onnx', content);
    const response = await loader.load(operator, 'a.onnx', { filename: 'b.onnx', folder: 'models' });
    expect(await problem(response)).toMatchObject({ status: 422, code: 'request.invalid' });
  });

  it('says 404 for what does not exist', async () => {
    expect(await problem(await loader.load(operator, 'missing.onnx'))).toMatchObject({
      status: 404,
      code: 'resource.not-found',
    });
  });

  it.each([
    ['resource.forbidden', 403],
    ['api.unauthorized', 401],
    ['api.unreachable', 502],
    ['resource.no-space', 507],
  ] as const)('answers %s with %i', async (code, status) => {
    loader.grantError = new ResourceError(code, 'A plain sentence.');
    expect(await problem(await loader.load(operator, 'a.onnx'))).toMatchObject({ status, code });
  });

  it('refuses an older version that is offered as the newest with 409', async () => {
    await loader.publish('a.onnx', content.subarray(0, 10));
    await loader.publish('a.onnx', content.subarray(0, 20));
    expect((await loader.load(operator, 'a.onnx')).headers.get('x-resource-version')).toBe('2');
    loader.admin.forgetVersionsAfter({ folder: 'models', name: 'a.onnx' }, 1);
    expect(await problem(await loader.load(operator, 'a.onnx'))).toMatchObject({
      status: 409,
      code: 'resource.rollback-refused',
    });
  });

  it('answers 502 resource.integrity when the first byte is bad already', async () => {
    await loader.publish('a.onnx', content);
    for (const key of loader.objects.keys()) loader.objects.tamper(key, (bytes) => flipped(bytes, 20));
    expect(await problem(await loader.load(operator, 'a.onnx'))).toMatchObject({
      status: 502,
      code: 'resource.integrity',
    });
  });

  it('cuts the connection when a later byte is bad: never a short answer that looks complete', async () => {
    await loader.publish('a.onnx', content);
    for (const key of loader.objects.keys()) loader.objects.tamper(key, (bytes) => flipped(bytes, bytes.length - 20));
    const response = await loader.load(operator, 'a.onnx');
    expect(response.status).toBe(200);
    const received: Buffer[] = [];
    const readAll = async (): Promise<void> => {
      for await (const part of response.body as unknown as AsyncIterable<Uint8Array>) received.push(Buffer.from(part));
    };
    await expect(readAll()).rejects.toThrow();
    const bytes = Buffer.concat(received);
    expect(bytes.length).toBeLessThan(content.length);
    expect(bytes.equals(content.subarray(0, bytes.length))).toBe(true);
  });

  /** A client that has asked and reads nothing, and its connection as the Loader sees it. */
  async function silentClient(name: string): Promise<{ readonly client: Socket; readonly connection: Socket }> {
    const accepted = once(loader.app.getHttpServer(), 'connection') as Promise<[Socket]>;
    const { hostname, port } = new URL(loader.url);
    const client = connect(Number(port), hostname);
    const [connection] = await accepted;
    const body = JSON.stringify({ filename: name, folder: 'models' });
    client.write(
      `POST /load/${name} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer ${operator}\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
    );
    return { client, connection };
  }

  /** Hangs up, and waits until the Loader knows; not by `once`, which fails with the connection's error. */
  async function leave(client: Socket, connection: Socket): Promise<void> {
    const closed = new Promise((resolve) => connection.once('close', resolve));
    client.destroy();
    await closed;
  }

  /** Waits until a number stays as it is while other requests come and go. */
  async function settled(number: () => number): Promise<number> {
    for (let same = 0; same < 20;) {
      const before = number();
      await (await fetch(`${loader.url}/health/live`)).arrayBuffer();
      same = number() === before ? same + 1 : 0;
    }
    return number();
  }

  it('stops before the first byte when the client goes away', async () => {
    await loader.publish('a.onnx', content);
    let open = (): void => undefined;
    loader.source.gate = new Promise((resolve) => (open = resolve));
    const { client, connection } = await silentClient('a.onnx');
    while (loader.recipients.length === 0) await new Promise(setImmediate);
    await leave(client, connection);
    open();
    // The Loader goes on to serve others; what the gone client wanted is not read on.
    expect(await settled(() => loader.source.opened.length)).toBeLessThanOrEqual(1);
  });

  it('fetches for a client that reads nothing what its buffers take and no more, and nothing once it is gone', async () => {
    const sizeBytes = 48 * MIB; // more than the budget for reading ahead and the buffers of both sockets
    await loader.publish('a.onnx', pseudoRandomBytes('a client that reads nothing', sizeBytes));
    const { client, connection } = await silentClient('a.onnx');
    while (loader.source.opened.length === 0) await new Promise(setImmediate);
    await settled(() => loader.source.opened.length);
    expect(loader.source.sentBytes).toBeLessThan(sizeBytes);
    await leave(client, connection);
    const atTheEnd = loader.source.opened.length;
    while (loader.source.ended < loader.source.opened.length) await new Promise(setImmediate);
    expect(await settled(() => loader.source.opened.length)).toBe(atTheEnd);
  });

  it('fetches one copy for fifty clients at once, each with a session of its own', async () => {
    const plaintext = pseudoRandomBytes('fifty clients', 2 * MIB);
    await loader.publish('a.onnx', plaintext);
    const tokens = Array.from({ length: 50 }, (_, index) =>
      loader.token('operator@azaion.com', { sid: `sid-${String(index)}` }),
    );
    const loads = tokens.map(async (token) =>
      Buffer.from(await (await loader.load(await token, 'a.onnx')).arrayBuffer()),
    );
    for (const bytes of await Promise.all(loads)) expect(bytes.equals(plaintext)).toBe(true);
    const sizes = await Promise.all(loader.objects.keys().map((key) => loader.objects.head(key)));
    expect(loader.store.writtenBytes).toBe(sizes.reduce((sum, object) => sum + (object?.sizeBytes ?? 0), 0));
    expect(new Set(loader.recipients.map(({ thumbprint }) => thumbprint)).size).toBe(50);
  });
});

describe('calls without a token (older services)', () => {
  let trusting: LoaderUnderTest;
  beforeEach(async () => (trusting = await LoaderUnderTest.start({ LOADER_LOCAL_TRUST: 'session' })));
  afterEach(() => trusting.stop());

  it('are the device itself, from loopback, where that is switched on', async () => {
    await trusting.publish('a.onnx', randomBytes(1000));
    const response = await trusting.load(undefined, 'a.onnx');
    expect(response.status).toBe(200);
    expect((await response.arrayBuffer()).byteLength).toBe(1000);
    expect(trusting.recipients).toEqual([expect.objectContaining({ userId: 'azj-0001' })]);
  });

  it.each(['forwarded', 'via', 'x-forwarded-for', 'x-forwarded-host', 'x-real-ip'])(
    'are refused when a proxy passed them on: %s',
    async (header) => {
      await trusting.publish('a.onnx', randomBytes(10));
      const response = await fetch(`${trusting.url}/load/a.onnx`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', [header]: 'for=203.0.113.7' },
        body: JSON.stringify({ filename: 'a.onnx', folder: 'models' }),
      });
      expect(response.status).toBe(401);
    },
  );

  it('do not excuse a bad token, and open nothing but load and upload', async () => {
    expect((await trusting.load('abc', 'a.onnx')).status).toBe(401);
    for (const path of ['/resources/models', '/resources/models/a.onnx'])
      expect((await fetch(trusting.url + path)).status).toBe(401);
    expect((await fetch(`${trusting.url}/logout`, { method: 'POST' })).status).toBe(401);
  });
});

describe('sessions', () => {
  beforeEach(() => loader.publish('a.onnx', randomBytes(1000)));

  it('belong to one login: no two share a key, and one keeps its key', async () => {
    const [first, again] = await Promise.all([
      loader.token('operator@azaion.com', { sid: 'sid-1' }),
      loader.token('operator@azaion.com', { sid: 'sid-1' }),
    ]);
    const second = await loader.token('second@azaion.com', { sid: 'sid-2' });
    const other = await loader.token('operator@azaion.com', { sid: 'sid-3' });
    const answers = await Promise.all([first, second, again, other].map((token) => loader.load(token, 'a.onnx')));
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
    const keys = new Map(loader.recipients.map(({ thumbprint, userId }) => [thumbprint, userId]));
    expect(keys.size).toBe(3);
    expect(loader.recipients).toHaveLength(4);
  });

  it('with the same id but another user get another key', async () => {
    await loader.load(await loader.token('operator@azaion.com', { sid: 'same' }), 'a.onnx');
    await loader.load(await loader.token('second@azaion.com', { sid: 'same' }), 'a.onnx');
    expect(new Set(loader.recipients.map(({ thumbprint }) => thumbprint)).size).toBe(2);
  });

  it('end with a logout, here and at the Admin API', async () => {
    const response = await fetch(`${loader.url}/logout`, { method: 'POST', headers: bearer(operator) });
    expect(response.status).toBe(204);
    expect(loader.loggedOut).toEqual([operator]);
    expect(await problem(await loader.load(operator, 'a.onnx'))).toMatchObject({ status: 401, code: 'token.invalid' });
    expect((await loader.load(uploader, 'a.onnx')).status).toBe(200);
  });

  it('end with the token', async () => {
    loader.clock.advance(1000_000);
    expect(await problem(await loader.load(operator, 'a.onnx'))).toMatchObject({ status: 401, code: 'token.expired' });
  });
});

describe('GET and HEAD /resources/{folder}/{filename} (F2)', () => {
  const content = randomBytes(MIB);
  const get = (headers: Record<string, string> = {}, query = '', method = 'GET'): Promise<Response> =>
    fetch(`${loader.url}/resources/models/a.onnx${query}`, { method, headers: { ...bearer(operator), ...headers } });

  beforeEach(() => loader.publish('a.onnx', content));

  it.each([
    ['bytes=0-0', 0, 1],
    ['bytes=5-9', 5, 10],
    ['bytes=1048570-', 1_048_570, MIB],
    ['bytes=1048570-99999999', 1_048_570, MIB],
    ['bytes=-6', MIB - 6, MIB],
    ['bytes=-99999999', 0, MIB],
  ])('serves %s', async (range, start, end) => {
    const response = await get({ range });
    expect(response.status).toBe(206);
    expect(response.headers.get('content-range')).toBe(`bytes ${start}-${end - 1}/${MIB}`);
    expect(Buffer.from(await response.arrayBuffer()).equals(content.subarray(start, end))).toBe(true);
  });

  it.each(['bytes=1048576-', 'bytes=-0', 'bytes=9999999-10000000'])('answers %s with 416', async (range) => {
    const response = await get({ range });
    expect([response.status, response.headers.get('content-range')]).toEqual([416, `bytes */${MIB}`]);
  });

  it.each(['bytes=5-4', 'bytes=0-1,3-4', 'lines=1-2', 'bytes=a-b', 'bytes=-'])('ignores %s', async (range) => {
    const response = await get({ range });
    expect(response.status).toBe(200);
    expect(response.headers.get('content-length')).toBe(String(MIB));
    await response.body?.cancel();
  });

  it('knows entity tags', async () => {
    const etag = (await get({}, '', 'HEAD')).headers.get('etag') ?? '';
    expect((await get({ 'if-none-match': etag })).status).toBe(304);
    expect((await get({ range: 'bytes=0-0', 'if-range': etag })).status).toBe(206);
    const other = await get({ range: 'bytes=0-0', 'if-range': '"other"' });
    expect(other.status).toBe(200);
    await other.body?.cancel();
  });

  it('describes a resource without reading it', async () => {
    const response = await get({}, '', 'HEAD');
    expect(response.status).toBe(200);
    expect(response.headers.get('content-length')).toBe(String(MIB));
    expect(loader.source.opened).toEqual([]);
  });

  it('serves a named older version, which moves no mark', async () => {
    await loader.publish('a.onnx', content.subarray(0, 10));
    const old = await get({}, '?version=1');
    expect(old.headers.get('x-resource-version')).toBe('1');
    await old.body?.cancel();
    expect((await get({}, '?version=0')).status).toBe(422);
    expect((await get({}, '?version=1e1')).status).toBe(422);
    expect((await get({}, '?version=3')).status).toBe(404);
  });
});

describe('POST /upload/{filename} (F3)', () => {
  const content = randomBytes(300_000);
  const file = new Blob([content]);

  function form(...parts: readonly [string, string | Blob][]): FormData {
    const data = new FormData();
    for (const [name, value] of parts) {
      if (typeof value === 'string') data.append(name, value);
      else data.append(name, value, 'a.onnx');
    }
    return data;
  }
  const upload = (body: FormData, token = uploader): Promise<Response> =>
    fetch(`${loader.url}/upload/a.onnx`, { method: 'POST', headers: bearer(token), body });

  it.each(['data', 'file'])('publishes the part %s, and loads it back', async (part) => {
    const response = await upload(form(['folder', 'models'], [part, file]));
    expect(response.status).toBe(200);
    expect(await response.json()).toEqual({
      status: 'ok',
      version: 1,
      bytes: content.length,
      uploadedBytes: expect.any(Number) as number,
      dedupedBytes: 0,
    });
    const loaded = await loader.load(operator, 'a.onnx');
    expect(Buffer.from(await loaded.arrayBuffer()).equals(content)).toBe(true);
  });

  it('publishes into models when no folder is named', async () => {
    expect((await upload(form(['data', file]))).status).toBe(200);
    expect(loader.admin.latestVersion({ folder: 'models', name: 'a.onnx' })).toBe(1);
  });

  it('publishes an octet-stream with the folder in the query', async () => {
    const response = await fetch(`${loader.url}/upload/b.onnx?folder=engines`, {
      method: 'POST',
      headers: { ...bearer(uploader), 'content-type': 'application/octet-stream' },
      body: content,
    });
    expect(await response.json()).toMatchObject({ status: 'ok', bytes: content.length });
    expect(loader.admin.latestVersion({ folder: 'engines', name: 'b.onnx' })).toBe(1);
  });

  it('makes no new version of equal bytes', async () => {
    await upload(form(['data', file]));
    expect(await (await upload(form(['data', file]))).json()).toMatchObject({ version: 1, uploadedBytes: 0 });
  });

  it.each([
    ['a folder after the file', form(['data', file], ['folder', 'models'])],
    ['two files', form(['data', file], ['file', file])],
    ['no file', form(['folder', 'models'])],
    ['an unknown field', form(['colour', 'red'], ['data', file])],
    ['an unknown file', form(['picture', file])],
    ['a folder that leaves the store', form(['folder', '../models'], ['data', file])],
    ['two folders', form(['folder', 'models'], ['folder', 'engines'], ['data', file])],
  ])('refuses %s with 422 and publishes nothing', async (_, body) => {
    expect(await problem(await upload(body))).toMatchObject({ status: 422, code: 'request.invalid' });
    expect(loader.admin.latestVersion({ folder: 'models', name: 'a.onnx' })).toBe(0);
    expect(loader.admin.latestVersion({ folder: 'engines', name: 'a.onnx' })).toBe(0);
  });

  it('is closed to a role that may not write', async () => {
    expect(await problem(await upload(form(['data', file]), operator))).toMatchObject({ status: 403 });
    expect(loader.objects.keys()).toEqual([]);
  });

  it.each([0, 1])('takes files of the limit and no byte more: limit + %i', async (more) => {
    const response = await upload(form(['data', new Blob([new Uint8Array(MAX_UPLOAD_BYTES + more)])]));
    expect(response.status).toBe(more === 0 ? 200 : 413);
    expect(loader.admin.latestVersion({ folder: 'models', name: 'a.onnx' })).toBe(more === 0 ? 1 : 0);
  });

  it.each([
    ['no boundary', 'multipart/form-data', ''],
    ['no part', 'multipart/form-data; boundary=x', 'nothing of the kind'],
    [
      'no end',
      'multipart/form-data; boundary=x',
      '--x\r\ncontent-disposition: form-data; name="data"; filename="a.onnx"\r\n\r\nsome bytes',
    ],
  ])('refuses a multipart body with %s and publishes nothing', async (_, type, body) => {
    const response = await fetch(`${loader.url}/upload/malformed.onnx`, {
      method: 'POST',
      headers: { ...bearer(uploader), 'content-type': type },
      body,
    });
    expect(await problem(response)).toMatchObject({ status: 400, code: 'request.malformed' });
    expect((await loader.load(uploader, 'malformed.onnx')).status).toBe(404);
  });

  it('publishes nothing of an upload that was cut off', async () => {
    const { hostname, port } = new URL(loader.url);
    const socket = connect(Number(port), hostname);
    socket.write(
      `POST /upload/a.onnx HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer ${uploader}\r\ncontent-type: application/octet-stream\r\ncontent-length: 100000\r\n\r\n`,
    );
    socket.write(content.subarray(0, 50_000));
    socket.resume();
    socket.end();
    await once(socket, 'close');
    expect((await loader.load(operator, 'a.onnx')).status).toBe(404);
  });
});

describe('a Loader with a certificate', () => {
  it('speaks HTTPS only', async () => {
    const directory = await tempDirectory('azaion-tls');
    const { cert, key } = selfSignedCertificate();
    const files = {
      LOADER_TLS_CERT_FILE: join(directory.path, 'cert'),
      LOADER_TLS_KEY_FILE: join(directory.path, 'key'),
    };
    await Promise.all([writeFile(files.LOADER_TLS_CERT_FILE, cert), writeFile(files.LOADER_TLS_KEY_FILE, key)]);
    const secure = await LoaderUnderTest.start(files);
    try {
      expect(secure.url).toMatch(/^https:/);
      const answer = httpsGet(`${secure.url}/health`, { ca: cert, agent: false });
      const [response] = (await once(answer, 'response')) as [IncomingMessage];
      expect(response.statusCode).toBe(200);
      response.resume();
      await expect(fetch(secure.url.replace('https:', 'http:'))).rejects.toThrow();
    } finally {
      await secure.stop();
      await directory.remove();
    }
  });
});

describe('GET /metrics', () => {
  const TOKEN = 'a scrape token!'.replaceAll(' ', '-').padEnd(20, 'x');
  const scraped = async (token: string): Promise<string> => {
    const response = await fetch(`${loader.url}/metrics`, { headers: bearer(token) });
    expect(response.status).toBe(200);
    return response.text();
  };

  beforeEach(async () => {
    await loader.stop();
    loader = await LoaderUnderTest.start({ METRICS_TOKEN: TOKEN });
    operator = await loader.token('operator@azaion.com');
  });

  it('is for the scrape token and administrators', async () => {
    expect((await fetch(`${loader.url}/metrics`)).status).toBe(401);
    expect((await fetch(`${loader.url}/metrics`, { headers: bearer(`${TOKEN}x`) })).status).toBe(401);
    expect((await fetch(`${loader.url}/metrics`, { headers: bearer(operator) })).status).toBe(403);
    expect(await scraped(TOKEN)).toContain('azaion_sessions 0');
    expect(await scraped(await loader.token('admin@azaion.com'))).toContain('azaion_sessions 0');
  });

  it('opens nothing else with the scrape token', async () => {
    expect((await loader.load(TOKEN, 'a.onnx')).status).toBe(401);
  });

  it('counts bytes by where they came from, grants, and requests by route', async () => {
    await loader.publish('a.onnx', randomBytes(3 * MIB));
    for (let time = 0; time < 2; time++) await (await loader.load(operator, 'a.onnx')).arrayBuffer();
    expect((await loader.load(operator, 'missing.onnx')).status).toBe(404);
    const text = await scraped(TOKEN);
    const value = (line: string): number =>
      Number(
        text
          .split('\n')
          .find((one) => one.startsWith(line))
          ?.split(' ')
          .at(-1),
      );
    expect(value('azaion_pack_bytes_total{source="cdn"}')).toBeGreaterThan(3 * MIB);
    expect(value('azaion_pack_bytes_total{source="cache"}')).toBeGreaterThanOrEqual(3 * MIB);
    expect(value('azaion_cache_bytes')).toBeGreaterThan(3 * MIB);
    expect(value('azaion_grants_total{outcome="granted"}')).toBe(2);
    expect(value('azaion_grants_total{outcome="resource.not-found"}')).toBe(1);
    expect(value('azaion_http_requests_total{method="POST",route="/load/:filename",status="200"}')).toBe(2);
    expect(value('azaion_chunk_failures_total')).toBe(0);
    expect(text).not.toContain('a.onnx');
  });

  it('counts chunks that do not open', async () => {
    await loader.publish('a.onnx', randomBytes(1000));
    for (const key of loader.objects.keys()) loader.objects.tamper(key, (bytes) => flipped(bytes, bytes.length - 20));
    expect((await loader.load(operator, 'a.onnx')).status).toBe(502);
    // Once as it came, once fetched anew.
    expect(await scraped(TOKEN)).toContain('azaion_chunk_failures_total 2');
  });
});

describe('GET /overview', () => {
  interface Overview {
    readonly people: readonly { readonly email: string }[];
    readonly resources: readonly { readonly name: string; readonly times: number }[];
    readonly failures: readonly { readonly code: string; readonly request: string }[];
  }
  const overview = async (token = operator): Promise<Overview> => {
    const response = await fetch(`${loader.url}/overview`, { headers: bearer(token) });
    expect(response.status).toBe(200);
    return (await response.json()) as Overview;
  };

  it('is for those who look after the device', async () => {
    expect((await fetch(`${loader.url}/overview`)).status).toBe(401);
    expect((await fetch(`${loader.url}/overview`, { headers: bearer(uploader) })).status).toBe(403);
  });

  it('names who calls with a good token, until they log out or it ends', async () => {
    const second = await loader.token('second@azaion.com');
    await loader.load(second, 'missing.onnx');
    await loader.load(await loader.token('second@azaion.com', { forged: true }), 'missing.onnx');
    expect((await overview()).people.map(({ email }) => email)).toEqual(['operator@azaion.com', 'second@azaion.com']);
    await fetch(`${loader.url}/logout`, { method: 'POST', headers: bearer(second) });
    expect((await overview()).people.map(({ email }) => email)).toEqual(['operator@azaion.com']);
  });

  it('tells a companion computer of itself, its own failures and the folders it was let into, and an operator of all', async () => {
    await loader.publish('a.onnx', randomBytes(100));
    await loader.publish('b.onnx', randomBytes(100), 'secret');
    loader.mayRead = ({ role }, folder) => role === 'Operator' || folder === 'models';
    const companion = await loader.token('companion@azaion.com');
    await (await loader.load(operator, 'a.onnx')).arrayBuffer();
    await (await loader.load(operator, 'b.onnx', { filename: 'b.onnx', folder: 'secret' })).arrayBuffer();
    await (await loader.load(operator, 'missing.onnx')).arrayBuffer();
    const seen = async (token: string): Promise<readonly unknown[]> => {
      const { people, resources, failures } = await overview(token);
      return [
        people.map(({ email }) => email),
        resources.map(({ name }) => name),
        failures.map(({ request }) => request),
      ];
    };
    expect(await seen(companion)).toEqual([['companion@azaion.com'], [], []]);
    await (await loader.load(companion, 'a.onnx')).arrayBuffer();
    await (await loader.load(companion, 'b.onnx', { filename: 'b.onnx', folder: 'secret' })).arrayBuffer();
    expect(await seen(companion)).toEqual([['companion@azaion.com'], ['a.onnx'], ['POST /load/b.onnx']]);
    expect(await seen(operator)).toEqual([
      ['operator@azaion.com', 'companion@azaion.com'],
      ['a.onnx', 'b.onnx'],
      ['POST /load/b.onnx', 'POST /load/missing.onnx'],
    ]);
  });

  it('names nothing that lies here where there is no device: nothing is leased', async () => {
    await loader.publish('a.onnx', randomBytes(100));
    await (await loader.load(operator, 'a.onnx')).arrayBuffer();
    expect(await overview()).toMatchObject({ serial: null, held: [], unleased: { packs: 1, bytes: 129 } });
  });

  it('names what was served, whole or in part, the last first', async () => {
    for (const name of ['a.onnx', 'b.onnx']) await loader.publish(name, randomBytes(100));
    await (await loader.load(operator, 'a.onnx')).arrayBuffer();
    await (await loader.load(operator, 'b.onnx')).arrayBuffer();
    const range = await fetch(`${loader.url}/resources/models/a.onnx`, {
      headers: { ...bearer(operator), range: 'bytes=1-2' },
    });
    expect((await range.arrayBuffer()).byteLength).toBe(2);
    expect((await overview()).resources).toEqual([
      expect.objectContaining({ folder: 'models', name: 'a.onnx', version: 1, times: 2 }),
      expect.objectContaining({ folder: 'models', name: 'b.onnx', version: 1, times: 1 }),
    ]);
  });

  it('names what failed for people and for this service, not what strangers make fail', async () => {
    await loader.load(operator, 'missing.onnx');
    for (let stranger = 0; stranger < 30; stranger++) await fetch(`${loader.url}/nothing/${stranger}`);
    await loader.load('abc', 'a.onnx');
    expect((await overview()).failures).toEqual([
      expect.objectContaining({ code: 'resource.not-found', request: 'POST /load/missing.onnx', status: 404 }),
    ]);
  });

  it('names what broke off after its first byte among the failures, and not as served', async () => {
    await loader.publish('a.onnx', pseudoRandomBytes('broken off', MIB));
    for (const key of loader.objects.keys()) loader.objects.tamper(key, (bytes) => flipped(bytes, bytes.length - 20));
    const response = await loader.load(operator, 'a.onnx');
    expect(response.status).toBe(200);
    await expect(response.arrayBuffer()).rejects.toThrow();
    let seen = await overview();
    while (seen.failures.length === 0) seen = await overview(); // written down when the connection has closed
    expect(seen.failures).toEqual([
      expect.objectContaining({ code: 'resource.integrity', request: 'POST /load/a.onnx', status: 502 }),
    ]);
    expect(seen.resources).toEqual([]);
  });

  it('remembers a bounded number of failures', async () => {
    for (let time = 0; time < 25; time++) await loader.load(operator, `missing-${time}.onnx`);
    const { failures } = await overview();
    expect(failures).toHaveLength(20);
    expect(failures[0]?.request).toBe('POST /load/missing-24.onnx');
  });
});

describe('the status page', () => {
  it.each([
    ['/', 'text/html; charset=utf-8'],
    ['/page/status.js', 'text/javascript; charset=utf-8'],
    ['/page/status.css', 'text/css; charset=utf-8'],
    ['/page/icon.svg', 'image/svg+xml'],
  ])('%s is open to everybody, under a policy that forbids everything but itself', async (path, type) => {
    const response = await fetch(loader.url + path);
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toBe(type);
    const policy = response.headers.get('content-security-policy');
    expect(policy).toContain("default-src 'none'");
    expect(policy).not.toMatch(/unsafe|\*|https?:/);
  });

  it('has no script or style in the document itself', async () => {
    const page = await (await fetch(loader.url)).text();
    expect(page).not.toMatch(/<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)/);
  });

  it.each(['/page/..%2Fpackage.json', '/page/constructor', '/page/index.htm'])('has no %s', async (path) =>
    expect((await fetch(loader.url + path)).status).toBe(404),
  );
});

describe('status and health (F6)', () => {
  it('says healthy exactly', async () => {
    expect(await (await fetch(`${loader.url}/health`)).text()).toBe('{"status":"healthy"}');
  });

  it('says what this Loader is', async () => {
    const status = async (): Promise<unknown> => (await fetch(`${loader.url}/status`)).json();
    expect(await status()).toMatchObject({
      authenticated: false,
      modelCacheDir: '/data/packs',
      version: '1.2.3',
      binding: 'none',
      bindingReason: 'Under test.',
      offline: false,
      cache: { bytes: 0, limitBytes: 64 * MIB },
    });
    await loader.publish('a.onnx', randomBytes(10));
    await (await loader.load(operator, 'a.onnx')).arrayBuffer();
    expect(await status()).toMatchObject({ authenticated: true });
  });

  it.each(['live', 'ready', 'startup'])('answers /health/%s', async (probe) => {
    expect((await fetch(`${loader.url}/health/${probe}`)).status).toBe(200);
  });

  it('describes itself', async () => {
    const description = (await (await fetch(`${loader.url}/docs/json`)).json()) as { paths: object };
    expect(Object.keys(description.paths)).toEqual(
      expect.arrayContaining(['/login', '/load/{filename}', '/upload/{filename}', '/status', '/health']),
    );
    expect((await fetch(`${loader.url}/docs`)).status).toBe(200);
  });

  it('describes both bodies of an upload: the form with a file, and the file alone', async () => {
    const { paths } = (await (await fetch(`${loader.url}/docs/json`)).json()) as {
      paths: Record<
        string,
        { post: { requestBody: { required: boolean; content: Record<string, { schema: object }> } } }
      >;
    };
    expect(paths['/upload/{filename}']?.post.requestBody).toMatchObject({
      required: true,
      content: {
        'multipart/form-data': {
          schema: { type: 'object', required: ['data'], properties: { data: { type: 'string', format: 'binary' } } },
        },
        'application/octet-stream': { schema: { type: 'string', format: 'binary' } },
      },
    });
  });
});

function flipped(bytes: Uint8Array, at: number): Uint8Array {
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  return bytes;
}
