import { createCipheriv, createHash, randomBytes } from 'node:crypto';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import {
  answersHttp,
  describeWith,
  freePort,
  OlderAdminApi,
  pseudoRandomBytes,
  runCommand,
  type RunningProcess,
  type S3Service,
  signedS3Request,
  startProcess,
  startRadosGateway,
  type TempDirectory,
  tempDirectory,
} from '@azaion/testing';

import { loaderRequests } from './loader-requests.js';
import { tokenFrom } from './started-system.js';

const WORKSPACE = join(import.meta.dirname, '..', '..', '..');
const OPERATOR = { email: 'test@azaion.com', password: 'validpass', role: 'Operator' };
const UPLOADER = { email: 'uploader@azaion.com', password: 'another pass', role: 'ResourceUploader' };
const MIB = 1024 * 1024;

/** SHA-256 of the one constant that every older resource is encrypted with. */
const RESOURCE_KEY = Buffer.from('822d0a253f9835112c8f7aaad5ce4b0776461d96baa63420095b3fb47a52b28e', 'hex');

describeWith('ceph', 'a Loader in legacy mode, with an older Admin API and a RADOS gateway', () => {
  let directory: TempDirectory;
  let s3: S3Service;
  let admin: OlderAdminApi;
  let loader: RunningProcess;
  let url: string;

  beforeAll(async () => {
    directory = await tempDirectory('azaion-legacy');
    s3 = await startRadosGateway();
    expect((await signedS3Request(s3.endpoint, s3, 'PUT', '/models')).status).toBe(200);
    admin = new OlderAdminApi([OPERATOR, UPLOADER]);
    admin.files.set('cdn.yaml', Buffer.from(cdnYaml(s3)));
    const adminUrl = await admin.start();
    url = `http://127.0.0.1:${await freePort()}`;
    const deviceConf = join(directory.path, 'device.conf');
    await writeFile(deviceConf, `AZAION_DEVICE_EMAIL=${OPERATOR.email}\nAZAION_DEVICE_PASSWORD=${OPERATOR.password}\n`);
    loader = await startProcess({
      command: process.execPath,
      args: [join(WORKSPACE, 'apps', 'loader', 'dist', 'main.js')],
      env: {
        NODE_OPTIONS: undefined,
        LEGACY_API: 'true',
        RESOURCE_API_URL: adminUrl,
        LOADER_PORT: new URL(url).port,
        LOADER_DATA_DIR: join(directory.path, 'data'),
        LOADER_LOCAL_TRUST: 'session',
        DEVICE_CONF: deviceConf,
        UNLOCK_RUNTIME: 'directory',
      },
      ready: answersHttp(`${url}/health/ready`),
    });
  });
  afterAll(async () => {
    await loader.stop();
    await admin.stop();
    await s3.stop();
    await directory.remove();
  });

  const tokens = new Map<string, string>();

  async function freshLogin({ email, password }: { email: string; password: string }): Promise<string> {
    return tokenFrom(url, { email, password });
  }

  /** One login for each: their number per minute is limited. */
  async function login(person: { email: string; password: string }): Promise<string> {
    const token = tokens.get(person.email) ?? (await freshLogin(person));
    tokens.set(person.email, token);
    return token;
  }

  const load = (name: string, token?: string): Promise<Response> => loaderRequests(url).load(name, token);

  async function upload(name: string, content: Uint8Array): Promise<Response> {
    return loaderRequests(url).upload(name, content, await login(UPLOADER));
  }

  /** As the older Loader would have published it. */
  async function published(name: string, content: Buffer): Promise<Buffer> {
    const iv = randomBytes(16);
    const cipher = createCipheriv('aes-256-cbc', RESOURCE_KEY, iv);
    const ciphertext = Buffer.concat([iv, cipher.update(content), cipher.final()]);
    admin.files.set(`models/${name}.small`, ciphertext.subarray(0, 3072));
    const big = ciphertext.subarray(3072);
    expect((await signedS3Request(s3.endpoint, s3, 'PUT', `/models/${name}.big`, new Uint8Array(big))).status).toBe(
      200,
    );
    return big;
  }

  it('opens what the older Loader published, for a person and for a service without a token', async () => {
    const content = Buffer.from(pseudoRandomBytes('older', 3 * MIB + 5));
    await published('older.onnx', content);
    for (const token of [await login(OPERATOR), undefined]) {
      const response = await load('older.onnx', token);
      expect(response.status).toBe(200);
      expect(response.headers.get('content-length')).toBe(String(content.length));
      expect(Buffer.from(await response.arrayBuffer()).equals(content)).toBe(true);
    }
  });

  it('serves ranges', async () => {
    const content = Buffer.from(pseudoRandomBytes('range', MIB));
    await published('range.onnx', content);
    const response = await fetch(`${url}/resources/models/range.onnx`, {
      headers: { authorization: `Bearer ${await login(OPERATOR)}`, range: 'bytes=500000-500099' },
    });
    expect(response.status).toBe(206);
    expect(Buffer.from(await response.arrayBuffer()).equals(content.subarray(500_000, 500_100))).toBe(true);
  });

  it('reads the big part from the disk where it was shipped, and from the CDN when that copy is damaged', async () => {
    const content = Buffer.from(pseudoRandomBytes('local', 200_000));
    const big = await published('local.onnx', content);
    const path = join(directory.path, 'data', 'legacy', 'models', 'local.onnx.big');
    await mkdir(join(path, '..'), { recursive: true });
    await writeFile(path, big);
    await published('remote.onnx', content);
    await signedS3Request(s3.endpoint, s3, 'DELETE', '/models/local.onnx.big');
    const token = await login(OPERATOR);
    const listed = await fetch(`${url}/resources/models`, { headers: { authorization: `Bearer ${token}` } });
    const facts = { kind: 'file', latestVersion: 1, totalBytes: null };
    expect(((await listed.json()) as { resources: unknown }).resources).toEqual(
      expect.arrayContaining([
        { ...facts, name: 'local.onnx', cached: true, cachedVersions: [1] },
        { ...facts, name: 'remote.onnx', cached: false, cachedVersions: [] },
      ]),
    );
    expect(Buffer.from(await (await load('local.onnx', token)).arrayBuffer()).equals(content)).toBe(true);
    await published('local.onnx', content);
    await writeFile(path, big.subarray(0, -7));
    expect(Buffer.from(await (await load('local.onnx', token)).arrayBuffer()).equals(content)).toBe(true);
    await rm(path);
  });

  it('takes the CDN when what was shipped is of an older version, of the same length and under the same key', async () => {
    const [older, newer] = ['version 1', 'version 2'].map((seed) => Buffer.from(pseudoRandomBytes(seed, 200_000)));
    const path = join(directory.path, 'data', 'legacy', 'models', 'stale.onnx.big');
    await mkdir(join(path, '..'), { recursive: true });
    await writeFile(path, await published('stale.onnx', older!));
    const token = await login(OPERATOR);
    expect(Buffer.from(await (await load('stale.onnx', token)).arrayBuffer()).equals(older!)).toBe(true);
    await published('stale.onnx', newer!);
    expect(Buffer.from(await (await load('stale.onnx', token)).arrayBuffer()).equals(newer!)).toBe(true);
  });

  it('cuts the connection when the content has not the hash that was shipped with it, and takes the CDN then', async () => {
    const [shipped, meant] = ['shipped', 'meant'].map((seed) => Buffer.from(pseudoRandomBytes(seed, 5 * MIB)));
    const path = join(directory.path, 'data', 'legacy', 'models', 'hashed.onnx');
    await mkdir(join(path, '..'), { recursive: true });
    await writeFile(`${path}.big`, await published('hashed.onnx', shipped!));
    await writeFile(`${path}.sha256`, `${createHash('sha256').update(meant!).digest('hex')}  hashed.onnx\n`);
    const token = await login(OPERATOR);
    const response = await load('hashed.onnx', token);
    await expect(response.arrayBuffer()).rejects.toThrow();
    expect(Buffer.from(await (await load('hashed.onnx', token)).arrayBuffer()).equals(shipped!)).toBe(true);
  });

  it('refuses the parts of two uploads before the first byte', async () => {
    await upload('halves.bin', Buffer.from(pseudoRandomBytes('halves 1', 50_000)));
    const small = admin.files.get('models/halves.bin.small')!;
    await upload('halves.bin', Buffer.from(pseudoRandomBytes('halves 2', 50_000)));
    admin.files.set('models/halves.bin.small', small);
    const response = await load('halves.bin', await login(OPERATOR));
    expect(response.status).toBe(502);
    expect(await response.json()).toMatchObject({ code: 'resource.integrity' });
  });

  it.each([0, 5000, 20 * MIB + 3])(
    'publishes %i bytes so that an older Loader opens them, the CDN first',
    async (bytes) => {
      const content = Buffer.from(pseudoRandomBytes('publish', bytes));
      const name = `published-${bytes}.bin`;
      const response = await upload(name, content);
      expect(await response.json()).toMatchObject({ status: 'ok', bytes });
      const small = admin.files.get(`models/${name}.small`) ?? Buffer.alloc(0);
      const big = Buffer.from(
        await (await signedS3Request(s3.endpoint, s3, 'GET', `/models/${name}.big`)).arrayBuffer(),
      );
      expect(small.length).toBe(Math.min(3072, Math.floor(0.3 * (small.length + big.length))));
      const opened = await load(name, await login(OPERATOR));
      expect(
        createHash('sha256')
          .update(Buffer.from(await opened.arrayBuffer()))
          .digest('hex'),
      ).toBe(createHash('sha256').update(content).digest('hex'));
    },
  );

  it('opens and publishes large files within bounded memory', async () => {
    const content = Buffer.from(pseudoRandomBytes('large', 128 * MIB));
    const before = (await loader.memory()).peakBytes;
    expect((await upload('large.bin', content)).status).toBe(200);
    const hashing = createHash('sha256');
    const response = await load('large.bin', await login(OPERATOR));
    for await (const part of response.body ?? []) hashing.update(part as Uint8Array);
    expect(hashing.digest('hex')).toBe(createHash('sha256').update(content).digest('hex'));
    expect((await loader.memory()).peakBytes - before).toBeLessThan(90 * MIB);
  });

  it('opens what lies in two files with the command line, on threads', async () => {
    const content = Buffer.from(pseudoRandomBytes('command line', 17 * MIB + 5));
    const paths = ['cli.small', 'cli.big', 'cli.out'].map((name) => join(directory.path, name));
    const [small = '', big = '', out = ''] = paths;
    await writeFile(big, await published('cli.bin', content));
    await writeFile(small, admin.files.get('models/cli.bin.small')!);
    const cli = join(WORKSPACE, 'apps', 'cli', 'dist', 'main.js');
    await runCommand(process.execPath, [cli, 'legacy', 'open', small, big, '-o', out, '--fast']);
    expect((await readFile(out)).equals(content)).toBe(true);
  });

  it('logs in again once when the server no longer knows its token', async () => {
    await published('again.onnx', Buffer.from('again'.repeat(1000)));
    const token = await login(OPERATOR);
    const before = admin.logins;
    admin.expireTokens();
    expect((await load('again.onnx', token)).status).toBe(200);
    expect(admin.logins).toBe(before + 1);
  });

  it('refuses wrong credentials, foreign tokens, and what is not there', async () => {
    const wrong = await loaderRequests(url).login({ email: OPERATOR.email, password: 'wrong' });
    expect(wrong.status).toBe(401);
    expect(await wrong.json()).toMatchObject({ code: 'login.wrong-credentials' });
    // What an older server signs says nothing here: nobody but that server can verify it.
    const unsigned = `${btoa('{"alg":"none"}')}.${btoa('{"role":"ApiAdmin"}')}.x`.replaceAll('=', '');
    expect((await load('older.onnx', unsigned)).status).toBe(401);
    expect((await load('missing.onnx', await login(OPERATOR))).status).toBe(404);
  });

  it('forgets a session and its password at the logout', async () => {
    const token = await freshLogin(OPERATOR);
    await fetch(`${url}/logout`, { method: 'POST', headers: { authorization: `Bearer ${token}` } });
    expect((await load('older.onnx', token)).status).toBe(401);
  });

  it('never writes a password anywhere', async () => {
    expect(loader.output()).not.toContain(OPERATOR.password);
    const { glob } = await import('node:fs/promises');
    for await (const file of glob('**/*', { cwd: join(directory.path, 'data'), withFileTypes: true }))
      if (file.isFile())
        expect((await readFile(join(file.parentPath, file.name))).includes(OPERATOR.password)).toBe(false);
  });
});

function cdnYaml(s3: S3Service): string {
  return [
    '# CDN',
    `host: ${s3.endpoint}`,
    `downloader_access_key: "${s3.accessKeyId}"`,
    `downloader_access_secret: ${s3.secretAccessKey}`,
    `uploader_access_key: '${s3.accessKeyId}'`,
    `uploader_access_secret: ${s3.secretAccessKey}`,
    '',
  ].join('\n');
}
