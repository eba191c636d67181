import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { readFile, rm, stat, writeFile } from 'node:fs/promises';
import { get, type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';

import { TarArchiveInspector } from '@azaion/adapters/image-archive';
import { legacyArchiveKey, legacyEncrypt } from '@azaion/crypto';
import { AccessTokenIssuer, IdentityError, JwksTokenVerifier, type Role } from '@azaion/identity';
import { InMemoryJwksSource } from '@azaion/identity/testing';
import { type ByteRange, ManualClock, Secret } from '@azaion/kernel';
import {
  type GrantApi,
  type PackLocation,
  InlineChunkOpener,
  InlineChunkSealer,
  PublishResource,
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
import { tempDirectory, type TempDirectory } from '@azaion/testing';
import type { KeySource, UnlockStatus, ArchiveVersion } from '@azaion/unlock';
import { dockerArchive, InMemoryKeySource, tar, type TestArchive } from '@azaion/unlock/testing';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';

import { readLoaderConfig } from '../config.js';
import { createLoader } from '../create-loader.js';
import type { LoaderAdapters, LoaderDevice } from '../loader-adapters.js';
import { CallerApis } from '../session/caller-apis.js';
import { CallerSessions } from '../session/caller-sessions.js';
import type { DesiredImages } from '../update/desired-images.js';
import { UnlockModule } from './unlock.module.js';

const ISSUER = { issuer: 'azaion-admin-api', audience: 'azaion' };
const MIB = 1024 * 1024;
const PASSWORD = 'correct horse battery';
const PEOPLE: Record<string, Role> = {
  'operator@azaion.com': 'Operator',
  'uploader@azaion.com': 'ResourceUploader',
  'azj-0001@azaion.com': 'CompanionPC',
};
const archive = dockerArchive([
  { reference: 'azaion/detections:latest', content: randomBytes(2 * MIB) },
  { reference: 'azaion/flights:latest', content: randomBytes(10_000) },
]);

/** Packs that come only when the gate is open. */
class GatedPackSource extends InMemoryPackSource {
  gate: Promise<void> = Promise.resolve();

  override async open(location: PackLocation, range: ByteRange): Promise<Readable> {
    await this.gate;
    return super.open(location, range);
  }
}

class InMemoryCallerApis extends CallerApis {
  error: Error | undefined;
  readonly fragments = new Map<string, Uint8Array>();

  constructor(private readonly admin: InMemoryAdminApi) {
    super();
  }

  override grants(): GrantApi {
    if (this.error !== undefined) throw this.error;
    return new InMemoryGrantApi(this.admin);
  }

  override uploads(): UploadApi {
    return new InMemoryUploadApi(this.admin);
  }

  override archiveKeys(): KeySource {
    return new InMemoryKeySource(this.fragments);
  }

  override list(): Promise<never[]> {
    return Promise.resolve([]);
  }
}

/** A Loader with an image directory, an Admin API and a CDN in memory. */
class UnlockUnderTest {
  readonly clock = new ManualClock(Date.now());
  readonly objects = new InMemoryObjectStore();
  readonly source = new GatedPackSource(this.objects);
  readonly jwks = new InMemoryJwksSource();
  directory!: TempDirectory;
  url!: string;
  apis!: InMemoryCallerApis;
  /** What the device is told to run. */
  desired: { readonly current: ArchiveVersion | undefined; known(): Promise<void> } | undefined;
  private admin!: InMemoryAdminApi;
  private issuer!: AccessTokenIssuer;
  private app!: NestFastifyApplication;

  static async start(): Promise<UnlockUnderTest> {
    const loader = new UnlockUnderTest();
    loader.directory = await tempDirectory('azaion-unlock');
    const key = await loader.jwks.publish();
    loader.issuer = new AccessTokenIssuer(() => Promise.resolve(key), loader.clock, {
      ...ISSUER,
      lifetimeSeconds: 900,
    });
    loader.admin = await InMemoryAdminApi.create(loader.objects, { clock: loader.clock });
    loader.apis = new InMemoryCallerApis(loader.admin);
    await loader.open();
    return loader;
  }

  async restart(env: Record<string, string> = {}): Promise<void> {
    await this.app.close();
    await this.open(env);
  }

  async stop(): Promise<void> {
    await this.app.close();
    await this.directory.remove();
  }

  token(email: string): Promise<string> {
    const role = PEOPLE[email] ?? 'None';
    return this.issuer.issue({ userId: randomUUID(), email, role, sessionId: randomUUID() });
  }

  async publish({ bytes, images }: TestArchive): Promise<void> {
    await new PublishResource(new InMemoryUploadApi(this.admin), new InMemoryPackSink(this.objects)).run({
      resource: { folder: 'images', name: 'azaion-latest' },
      kind: 'images',
      content: Readable.from([bytes], { objectMode: false }),
      maxBytes: 64 * MIB,
      images: () => Promise.resolve(images),
    });
  }

  async post(path: string, options: { email?: string; body?: object } = {}): Promise<Response> {
    const headers: Record<string, string> = { 'content-type': 'application/json' };
    if (options.email !== undefined) headers['authorization'] = `Bearer ${await this.token(options.email)}`;
    return fetch(`${this.url}${path}`, { method: 'POST', headers, body: JSON.stringify(options.body ?? {}) });
  }

  async status(): Promise<UnlockStatus> {
    return (await (await fetch(`${this.url}/unlock/status`)).json()) as UnlockStatus;
  }

  /** Follows the events until one of the states has come. */
  async until(...states: string[]): Promise<UnlockStatus> {
    for await (const { status } of this.events()) if (states.includes(status.state)) return status;
    throw new Error('the events ended');
  }

  async *events(lastEventId?: string): AsyncGenerator<{ readonly id: string; readonly status: UnlockStatus }> {
    // A connection of its own: fetch would open another one after an abort, and never use it.
    const request = get(`${this.url}/unlock/events`, {
      agent: false,
      headers: lastEventId === undefined ? {} : { 'last-event-id': lastEventId },
    });
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    expect(response.headers['content-type']).toBe('text/event-stream');
    let text = '';
    try {
      for await (const piece of response.setEncoding('utf8') as AsyncIterable<string>) {
        text += piece;
        const events = text.split('\n\n');
        text = events.pop() ?? '';
        for (const event of events) {
          const id = /^id: (.*)$/m.exec(event)?.[1];
          const data = /^data: (.*)$/m.exec(event)?.[1];
          if (id !== undefined && data !== undefined) yield { id, status: JSON.parse(data) as UnlockStatus };
        }
      }
    } finally {
      request.destroy();
    }
  }

  /** The device's own session, logged in already. */
  private loggedInDevice(): LoaderDevice {
    const serial = 'azj-0001';
    const keys = softwareRecipient(serial);
    const email = `${serial}@azaion.com`;
    return {
      serial,
      authenticated: true,
      bearer: async () => {
        const token = await this.token(email);
        return { token, caller: await new JwksTokenVerifier(this.jwks, this.clock, ISSUER).verify(token) };
      },
      recipient: () => Promise.resolve(keys),
      start: () => undefined,
      stop: () => undefined,
    };
  }

  private async open(env: Record<string, string> = {}): Promise<void> {
    const config = readLoaderConfig({
      RESOURCE_API_URL: 'https://api.example',
      LOADER_DATA_DIR: this.directory.path,
      UNLOCK_RUNTIME: 'directory',
      ...env,
    });
    const { clock, jwks, admin, apis, objects, source } = this;
    const adapters: LoaderAdapters = {
      clock,
      auth: {
        login: async (email, password) => {
          if (PEOPLE[email] === undefined || password.reveal() !== PASSWORD)
            throw new IdentityError('login.wrong-credentials', 'The e-mail address or the password is wrong.');
          return { accessToken: new Secret(await this.token(email)), expiresInSeconds: 900, refreshToken: undefined };
        },
        logout: () => Promise.resolve(),
      },
      apis,
      verifier: new JwksTokenVerifier(jwks, clock, ISSUER),
      sessions: new CallerSessions(clock),
      trust: new InMemoryStatementTrust(() => admin.statementKeys()),
      sources: [source],
      sink: new InMemoryPackSink(objects),
      store: new InMemoryPackStore(64 * MIB),
      segments: new InMemorySegmentStore(),
      opener: new InlineChunkOpener(),
      sealer: new InlineChunkSealer(),
      inspector: new TarArchiveInspector(),
      device: config.unlockOnStart ? this.loggedInDevice() : undefined,
      desiredImages: this.desired as DesiredImages | undefined,
      binding: 'none',
      bindingReason: 'Under test.',
      modelCacheDir: '/data/packs',
      dataDirectory: { name: 'data-directory', check: () => Promise.resolve() },
      adminApi: { name: 'admin-api', check: () => Promise.resolve() },
      close: () => Promise.resolve(),
    };
    this.app = await createLoader(config, adapters, '1.2.3', {
      log: { level: 'silent' },
      features: [UnlockModule.register(config, adapters)],
    });
    await this.app.listen(0, '127.0.0.1');
    this.url = (await this.app.getUrl()).replace('[::1]', '127.0.0.1');
  }
}

describe('the unlock routes (F4, F5)', () => {
  let loader: UnlockUnderTest;
  beforeEach(async () => {
    loader = await UnlockUnderTest.start();
  });
  afterEach(() => loader.stop());

  it.each([
    ['without token and credentials', {}, 401, 'token.missing'],
    ['with a role that may not', { email: 'uploader@azaion.com' }, 403, 'role.forbidden'],
    [
      'with wrong credentials',
      { body: { email: 'operator@azaion.com', password: 'x' } },
      401,
      'login.wrong-credentials',
    ],
    [
      'with credentials of a role that may not',
      { body: { email: 'uploader@azaion.com', password: PASSWORD } },
      403,
      'role.forbidden',
    ],
    ['with half of the credentials', { body: { email: 'operator@azaion.com' } }, 422, 'request.invalid'],
    ['with an unknown member', { email: 'operator@azaion.com', body: { Hardware: 'x' } }, 422, 'request.invalid'],
    ['without an archive', { email: 'operator@azaion.com' }, 404, 'unlock.archive-not-found'],
  ])('POST /unlock %s is refused', async (_, options, status, code) => {
    const response = await loader.post('/unlock', options);
    expect(response.status).toBe(status);
    expect(await response.json()).toMatchObject({ code });
    expect(await loader.status()).toMatchObject({ state: 'idle', error: null, progress: null, images: [] });
  });

  it.each([
    ['a token', { email: 'operator@azaion.com' }],
    ['credentials', { body: { email: 'operator@azaion.com', password: PASSWORD } }],
  ])('unlocks with %s, into a file of mode 0600 that equals the archive', async (_, options) => {
    await loader.publish(archive);
    const response = await loader.post('/unlock', options);
    expect([response.status, await response.json()]).toEqual([200, { state: 'authenticating' }]);
    const status = await loader.until('ready', 'error');
    expect(status).toMatchObject({ state: 'ready', error: null, detail: null, progress: null });
    expect(status.images.map(({ reference, present }) => [reference, present])).toEqual(
      archive.images.map(({ reference }) => [reference, true]),
    );
    const path = join(loader.directory.path, 'images', 'azaion-images.tar');
    expect((await readFile(path)).equals(archive.bytes)).toBe(true);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    const again = await loader.post('/unlock', options);
    expect(await again.json()).toEqual({ state: 'ready' });
  });

  it('starts one run however many ask, shows its progress, and cancels it', async () => {
    await loader.publish(archive);
    let open = (): void => undefined;
    loader.source.gate = new Promise((resolve) => (open = resolve));
    const answers = await Promise.all([1, 2, 3].map(() => loader.post('/unlock', { email: 'operator@azaion.com' })));
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200]);
    expect(await loader.until('decrypting')).toMatchObject({
      progress: { bytesDone: 0, bytesTotal: archive.bytes.length, etaSeconds: null },
    });
    expect((await loader.post('/unlock/cancel')).status).toBe(401);
    expect((await loader.post('/unlock/cancel', { email: 'operator@azaion.com' })).status).toBe(202);
    expect(await loader.until('error')).toMatchObject({ error: 'unlock.cancelled' });
    const late = await loader.post('/unlock/cancel', { email: 'operator@azaion.com' });
    expect([late.status, await late.json()]).toEqual([409, expect.objectContaining({ code: 'unlock.not-running' })]);
    open();
    await loader.post('/unlock', { email: 'operator@azaion.com' });
    expect(await loader.until('ready', 'error')).toMatchObject({ state: 'ready' });
  });

  it('says that this account may not open the archive', async () => {
    loader.apis.error = new ResourceError('resource.forbidden', 'no');
    const response = await loader.post('/unlock', { email: 'operator@azaion.com' });
    expect([response.status, await response.json()]).toEqual([
      403,
      expect.objectContaining({ code: 'unlock.forbidden' }),
    ]);
  });

  it('reports an Admin API that cannot be reached as the outcome of the run', async () => {
    loader.apis.error = new ResourceError('api.unreachable', 'The Admin API does not answer.');
    expect((await loader.post('/unlock', { email: 'operator@azaion.com' })).status).toBe(200);
    expect(await loader.until('error')).toMatchObject({ error: 'api.unreachable' });
  });

  it('sends a client that comes back what it has missed', async () => {
    await loader.publish(archive);
    const first = await loader.events().next();
    const { id, status } = first.value as { id: string; status: UnlockStatus };
    expect(status.state).toBe('idle');
    await loader.post('/unlock', { email: 'operator@azaion.com' });
    await loader.until('ready');
    const states: string[] = [];
    for await (const event of loader.events(id)) {
      if (event.status.state !== states.at(-1)) states.push(event.status.state);
      if (event.status.state === 'ready') break;
    }
    expect(states).toEqual(['authenticating', 'downloading_key', 'decrypting', 'loading_images', 'ready']);
  });

  it.each(['', 'x', 'zzz-1', `${'9'.repeat(400)}-1`])(
    'starts with the status now for the event id "%s"',
    async (id) => {
      const first = await loader.events(id).next();
      expect(first.value).toMatchObject({ status: { state: 'idle' } });
    },
  );

  it('keeps its state over a restart', async () => {
    await loader.publish(archive);
    await loader.post('/unlock', { email: 'operator@azaion.com' });
    await loader.until('ready');
    await loader.restart();
    expect(await loader.status()).toMatchObject({ state: 'ready', error: null });
  });

  it('reports a run that an orderly stop cut off, and ends open event streams', async () => {
    await loader.publish(archive);
    loader.source.gate = new Promise(() => undefined);
    await loader.post('/unlock', { email: 'operator@azaion.com' });
    await loader.until('decrypting');
    const following = loader.until('ready');
    following.catch(() => undefined);
    await loader.restart();
    await expect(following).rejects.toThrow();
    expect(await loader.status()).toMatchObject({ state: 'error', error: 'unlock.interrupted' });
  });

  it('reports a run that a kill cut off', async () => {
    await writeFile(
      join(loader.directory.path, 'unlock.json'),
      JSON.stringify({ state: 'loading_images', error: null, detail: null, images: [] }),
    );
    await loader.restart();
    expect(await loader.status()).toMatchObject({ state: 'error', error: 'unlock.interrupted' });
  });

  it('unlocks by itself at the start when that is switched on', async () => {
    await loader.publish(archive);
    expect(await loader.status()).toMatchObject({ state: 'idle' });
    await loader.restart({ UNLOCK_ON_START: 'true' });
    expect(await loader.until('ready', 'error')).toMatchObject({ state: 'ready', error: null });
  });

  describe('when the device is told to run an older version', () => {
    const older = dockerArchive([{ reference: 'azaion/detections:latest', content: randomBytes(20_000) }]);
    const version = { folder: 'images', name: 'azaion-latest', version: 1 };
    beforeEach(async () => {
      await loader.publish(older);
      await loader.publish(archive);
    });

    it('unlocks that one by itself at the start, as soon as it knows which', async () => {
      let known = (): void => undefined;
      const asked = new Promise<void>((resolve) => (known = resolve));
      const desired = { current: undefined as ArchiveVersion | undefined, known: () => asked };
      loader.desired = desired;
      await loader.restart({ UNLOCK_ON_START: 'true' });
      expect(await loader.status()).toMatchObject({ state: 'idle', loaded: null });
      desired.current = version;
      known();
      expect(await loader.until('ready', 'error')).toMatchObject({ state: 'ready', loaded: version });
    });

    it('unlocks that one when a person asks for no other, and the newest where nobody says', async () => {
      const desired = { current: version as ArchiveVersion | undefined, known: () => Promise.resolve() };
      loader.desired = desired;
      await loader.restart();
      for (const [current, loaded] of [
        [version, 1],
        [undefined, 2],
      ] as const) {
        desired.current = current;
        await loader.post('/unlock', { email: 'operator@azaion.com' });
        expect(await loader.until('ready', 'error')).toMatchObject({ state: 'ready', loaded: { version: loaded } });
      }
    });
  });

  it('waits by itself for a network that is not up yet, and holds up no probe', async () => {
    await loader.publish(archive);
    loader.apis.error = new ResourceError('api.unreachable', 'The Admin API does not answer.');
    await loader.restart({ UNLOCK_ON_START: 'true' });
    for await (const { status } of loader.events()) {
      if (status.progress?.phase !== 'waiting_for_link') continue;
      expect(status).toMatchObject({ state: 'authenticating', error: null });
      break;
    }
    for (const path of ['/health', '/health/live', '/health/startup'])
      expect((await fetch(`${loader.url}${path}`)).status).toBe(200);
    loader.apis.error = undefined;
    expect(await loader.until('ready', 'error')).toMatchObject({ state: 'ready', error: null });
  });

  it('runs again by itself what a kill cut off, when that is switched on', async () => {
    await loader.publish(archive);
    const cutOff = { state: 'loading_images', error: null, detail: null, images: [] };
    await writeFile(join(loader.directory.path, 'unlock.json'), JSON.stringify(cutOff));
    await loader.restart({ UNLOCK_ON_START: 'true' });
    expect(await loader.until('ready')).toMatchObject({ state: 'ready', error: null });
  });

  it('loads nothing while the device is in the air, says so, and goes on after it', async () => {
    await loader.publish(archive);
    const gate = join(loader.directory.path, 'in-flight');
    await writeFile(gate, '');
    await loader.restart({ FLIGHT_GATE_FILE: gate });
    await loader.post('/unlock', { email: 'operator@azaion.com' });
    for await (const { status } of loader.events()) {
      expect(status.state).not.toBe('loading_images');
      if (status.progress?.phase === 'waiting_for_flight_gate') break;
    }
    await expect(stat(join(loader.directory.path, 'images'))).rejects.toThrow('ENOENT');
    await rm(gate);
    expect(await loader.until('ready', 'error')).toMatchObject({ state: 'ready' });
  });

  it('reports what a run has moved', async () => {
    await loader.publish(archive);
    await loader.post('/unlock', { email: 'operator@azaion.com' });
    const { report } = await loader.until('ready', 'error');
    expect(report).toMatchObject({
      archiveBytes: archive.bytes.length,
      loadedBytes: archive.bytes.length,
      reusedBytes: 0,
    });
    // Its layers are random; headers and padding compress where they fall into one chunk.
    expect(report!.downloadedBytes).toBeGreaterThan(0.95 * archive.bytes.length);
    expect(report!.downloadedBytes).toBeLessThan(1.05 * archive.bytes.length);
  });

  describe('with an archive file of the older format', () => {
    const FRAGMENT = Buffer.from('the key fragment');
    const images = (): string => join(loader.directory.path, 'images', 'azaion-images.tar');
    const restart = async (env: Record<string, string> = {}): Promise<void> => {
      const path = join(loader.directory.path, 'images.enc');
      const encrypted = Readable.from([archive.bytes]).pipe(legacyEncrypt(legacyArchiveKey(FRAGMENT)));
      await writeFile(path, await buffer(encrypted));
      await loader.restart({ IMAGES_PATH: path, UNLOCK_IMAGES: 'azaion/detections,azaion/flights', ...env });
    };
    const allowList = async (
      digest = (index: number): string => archive.images[index]!.configDigest,
    ): Promise<string> => {
      const path = join(loader.directory.path, 'allowed');
      await writeFile(path, archive.images.map(({ reference }, index) => `${reference} ${digest(index)}\n`).join(''));
      return path;
    };

    it('unlocks it with the key fragment of the Admin API', async () => {
      loader.apis.fragments.set('images', FRAGMENT);
      await restart();
      await loader.post('/unlock', { email: 'operator@azaion.com' });
      expect(await loader.until('ready', 'error')).toMatchObject({ state: 'ready', error: null });
      expect((await readFile(images())).equals(archive.bytes)).toBe(true);
      expect(await (await loader.post('/unlock', { email: 'operator@azaion.com' })).json()).toEqual({ state: 'ready' });
    });

    it('takes a tar at that place for a bundle of the sealed archive, not for one of the older format', async () => {
      await loader.publish(archive);
      const path = join(loader.directory.path, 'bundle.tar');
      await writeFile(path, tar([{ name: 'bundle.json', bytes: Buffer.from('{}') }]));
      await loader.restart({ IMAGES_PATH: path });
      await loader.post('/unlock', { email: 'operator@azaion.com' });
      expect(await loader.until('ready', 'error')).toMatchObject({ state: 'ready' });
    });

    it('says that the Admin API has no key for it', async () => {
      await restart();
      await loader.post('/unlock', { email: 'operator@azaion.com' });
      expect(await loader.until('error')).toMatchObject({ error: 'unlock.key-not-found' });
    });

    it('refuses it when it holds another image than the list allows', async () => {
      loader.apis.fragments.set('images', FRAGMENT);
      await restart({ UNLOCK_ALLOWED_IMAGES_FILE: await allowList(() => `sha256:${'0'.repeat(64)}`) });
      await loader.post('/unlock', { email: 'operator@azaion.com' });
      expect(await loader.until('error')).toMatchObject({ error: 'unlock.image-mismatch' });
      await expect(stat(images())).rejects.toThrow('ENOENT');
    });

    it('takes it when it holds what the list allows', async () => {
      loader.apis.fragments.set('images', FRAGMENT);
      await restart({ UNLOCK_ALLOWED_IMAGES_FILE: await allowList(), UNLOCK_IMAGES: 'azaion/unused' });
      await loader.post('/unlock', { email: 'operator@azaion.com' });
      expect(await loader.until('ready', 'error')).toMatchObject({ state: 'ready' });
    });

    it('refuses it when it holds other images than are wanted', async () => {
      loader.apis.fragments.set('images', FRAGMENT);
      await restart({ UNLOCK_IMAGES: 'azaion/detections' });
      await loader.post('/unlock', { email: 'operator@azaion.com' });
      expect(await loader.until('error')).toMatchObject({ error: 'unlock.image-unsigned' });
    });
  });

  it('is not ready while the container engine that it needs does not answer', async () => {
    const ready = async (): Promise<[number, string]> => {
      for (;;) {
        const response = await fetch(`${loader.url}/health/ready`);
        const text = await response.text();
        if (!text.includes('not checked yet')) return [response.status, text];
      }
    };
    expect((await ready())[0]).toBe(200);
    const none = { UNLOCK_RUNTIME: 'engine', CONTAINER_CLI: join(loader.directory.path, 'no-such-cli') };
    await loader.restart({ ...none, UNLOCK_ON_START: 'true' });
    const [status, text] = await ready();
    expect(status).toBe(503);
    expect((JSON.parse(text) as { error: object }).error).toEqual({
      'container-engine': { status: 'down', message: expect.stringContaining('CONTAINER_CLI') as string },
    });
  });

  it('writes no image to a disk because the engine is not there', async () => {
    await loader.publish(archive);
    await loader.restart({ UNLOCK_RUNTIME: '', CONTAINER_CLI: join(loader.directory.path, 'no-such-cli') });
    await loader.post('/unlock', { email: 'operator@azaion.com' });
    expect(await loader.until('ready', 'error')).toMatchObject({ error: 'unlock.engine-not-installed' });
    await expect(stat(join(loader.directory.path, 'images'))).rejects.toThrow('ENOENT');
  });

  it.each(['', '{', 'null', '{"state":"flying"}', '{"state":"ready","error":1,"detail":null,"images":[]}'])(
    'starts afresh from a damaged record: %s',
    async (text) => {
      await writeFile(join(loader.directory.path, 'unlock.json'), text);
      await loader.restart();
      expect(await loader.status()).toMatchObject({ state: 'idle' });
    },
  );
});
