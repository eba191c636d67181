import { execFileSync } from 'node:child_process';
import { createCipheriv, createHash, randomBytes } from 'node:crypto';
import { readdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';

import {
  describeWith,
  type DockerDaemon,
  findProgram,
  type ImageArchive,
  imageArchive,
  startDockerd,
  type TempDirectory,
  tempDirectory,
} from '@azaion/testing';

import { AzaionCommand } from '../demo/azaion-command.js';
import { WORKSPACE } from '../started-service.js';
import { post } from './loader-requests.js';
import { answerOf, startSystem, type StartedSystem } from './started-system.js';

type Publish = (archive: Buffer) => Promise<void>;

/** Someone who publishes archives as `images/azaion-latest`: one account, which reuses what it published itself at once, not only when that is verified. */
async function publisherFor(system: StartedSystem): Promise<Publish> {
  const token = await system.login(await system.createPerson('ApiAdmin'));
  return (archive) => system.requests.publish('azaion-latest', archive, token, 'folder=images&kind=images');
}

/** Publishes, and moves the packs from the CDN to where a device finds them, as a factory would. */
async function publishAndPreDeploy(system: StartedSystem, publish: Publish, archive: Buffer): Promise<void> {
  await publish(archive);
  await rename(join(system.adminDataDir, 'objects', 'packs'), join(system.imagesDir, 'packs'));
}

const unlockStatus = (system: StartedSystem) => answerOf(system.loaderApi().GET('/unlock/status'));

async function unlock(system: StartedSystem) {
  const first = await answerOf(system.loaderApi().POST('/unlock', { body: await system.createPerson('Operator') }));
  for (;;) {
    const last = await unlockStatus(system);
    if (last.state === 'ready' || last.state === 'error') return { first, last };
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

const MAX_ARCHIVE_BYTES = 64 * 1024 * 1024;
const LAYER_BYTES = 4_000_000;
/** Chunks of 512 KiB at most reach over either border of a layer; where they are cut, the folder's key decides. */
const MOST_CHANGED_BYTES = LAYER_BYTES / 2;

/** Two versions of an image that differ in the small one of two layers: the second costs that layer. */
function twoVersions(name: string): Promise<readonly ImageArchive[]> {
  const base = { seed: 'base', sizeBytes: LAYER_BYTES };
  return Promise.all(
    ['one', 'two'].map((seed) => imageArchive([{ name, layers: [base, { seed, sizeBytes: LAYER_BYTES / 10 }] }])),
  );
}

async function smallArchive(): Promise<Buffer> {
  const archive = await imageArchive([
    { name: 'azaion/detections:latest', layers: [{ seed: 'base', sizeBytes: 2_000_000 }] },
    {
      name: 'azaion/flights:latest',
      layers: [
        { seed: 'base', sizeBytes: 2_000_000 },
        { seed: 'flights', sizeBytes: 300_000 },
      ],
    },
  ]);
  return buffer(archive.open());
}

describe('F4 without an engine: the archive goes into a directory', () => {
  let system: StartedSystem;
  beforeAll(async () => {
    system = await startSystem({ loaderEnv: { UNLOCK_RUNTIME: 'directory' } });
  }, 120_000);
  afterAll(() => system.stop());

  it('answers 404 while there is no archive', async () => {
    const response = await post(`${system.loaderUrl}/unlock`, await system.createPerson('Operator'));
    expect(response.status).toBe(404);
    expect(((await response.json()) as { detail: string }).detail).toContain('Encrypted archive not found');
  });

  it('refuses a role that may not unlock, and wrong credentials', async () => {
    const statusFor = async (body: unknown): Promise<number> => (await post(`${system.loaderUrl}/unlock`, body)).status;
    expect(await statusFor(await system.createPerson('Validator'))).toBe(403);
    expect(await statusFor({ email: 'nobody@example.com', password: 'not the password' })).toBe(401);
  });

  it('writes the verified archive, byte for byte, and is ready', async () => {
    const tar = await smallArchive();
    await publishAndPreDeploy(system, await publisherFor(system), tar);
    const { first, last } = await unlock(system);
    expect(first.state).toBe('authenticating');
    expect(last).toMatchObject({ state: 'ready', error: null });
    const directory = join(system.loaderDataDir, 'images');
    const written = (await readdir(directory)).filter((name) => name.endsWith('.tar'));
    expect(written).toHaveLength(1);
    expect((await readFile(join(directory, written[0]!))).equals(tar)).toBe(true);
  });

  it('is ready at once when the images are there already, also after a restart', async () => {
    await system.restartLoader();
    const { first } = await unlock(system);
    expect(first.state).toBe('ready');
  });
});

describeWith('podman', 'F4 with podman', () => {
  it('fetches only the layer that changed, although podman takes whole archives only', async () => {
    const directory = await tempDirectory('azaion-podman');
    const storage = join(directory.path, 'storage.conf');
    const [root, runRoot] = [join(directory.path, 'root'), join(directory.path, 'run')];
    await writeFile(storage, `[storage]\ndriver = "vfs"\ngraphroot = "${root}"\nrunroot = "${runRoot}"\n`);
    const system = await startSystem({
      loaderEnv: { UNLOCK_RUNTIME: 'engine', CONTAINER_CLI: 'podman', CONTAINERS_STORAGE_CONF: storage },
    });
    try {
      const [first, second] = await twoVersions('azaion/detections:latest');
      const publish = await publisherFor(system);
      const archives: Buffer[] = [];
      for (const generated of [first!, second!]) {
        const archive = await buffer(generated.open());
        archives.push(archive);
        await publish(archive);
        expect((await unlock(system)).last).toMatchObject({
          state: 'ready',
          error: null,
          images: [{ configDigest: generated.imageIds[0], present: true }],
        });
      }
      const { report } = await unlockStatus(system);
      expect(report).toMatchObject({ loadedBytes: archives[1]!.length, reusedBytes: 0 });
      expect(report?.downloadedBytes).toBeGreaterThan(LAYER_BYTES / 10);
      expect(report?.downloadedBytes).toBeLessThan(MOST_CHANGED_BYTES);
    } finally {
      await system.stop();
      await directory.remove();
    }
  }, 120_000);
});

describeWith(['docker', 'busybox'], 'F4 with a Docker engine', () => {
  let docker: DockerDaemon;
  beforeAll(async () => {
    docker = await startDockerd();
  }, 60_000);
  afterAll(() => docker.stop());

  const imageId = (reference: string): string => docker.cli('image', 'inspect', '--format', '{{.Id}}', reference);

  /** Makes a real image, saves it, and takes it away again. */
  function savedImage(reference: string): { readonly id: string; readonly archive: Buffer } {
    const rootFilesystem = execFileSync('tar', ['-C', '/', '-cf', '-', findProgram('busybox')!.slice(1)], {
      maxBuffer: MAX_ARCHIVE_BYTES,
    });
    docker.cliBytes(['import', '--change', 'CMD ["/bin/busybox","sh"]', '-', reference], rootFilesystem);
    const id = imageId(reference);
    const archive = docker.cliBytes(['save', reference]);
    docker.cli('rmi', '--force', reference);
    expect(() => imageId(reference)).toThrow();
    return { id, archive };
  }

  it('opens a pre-deployed archive of a real image, loads it, and verifies it by id', async () => {
    const system = await startSystem({ loaderEnv: { UNLOCK_RUNTIME: 'engine', DOCKER_HOST: docker.dockerHost } });
    try {
      const reference = 'azaion/detections:latest';
      const { id, archive } = savedImage(reference);
      const publish = await publisherFor(system);
      await publishAndPreDeploy(system, publish, archive);
      const { last } = await unlock(system);
      expect(last).toMatchObject({ state: 'ready', error: null });
      expect(imageId(reference)).toBe(id);

      for (const generated of await twoVersions(reference)) {
        await publish(await buffer(generated.open()));
        expect((await unlock(system)).last).toMatchObject({ state: 'ready', error: null });
        expect(imageId(reference)).toBe(generated.imageIds[0]);
      }
      const { report } = await unlockStatus(system);
      expect(report?.reusedBytes).toBeGreaterThan(LAYER_BYTES);
      expect(report?.loadedBytes).toBeLessThan(LAYER_BYTES / 5);
      expect(report?.downloadedBytes).toBeLessThan(MOST_CHANGED_BYTES);
    } finally {
      await system.stop();
    }
  }, 120_000);

  describe('and an archive of the older format, opened with the key fragment of the Admin API', () => {
    const REFERENCE = 'azaion/flights:1.4.0';
    let directory: TempDirectory;
    let path: string;
    let allowed: string;
    let system: StartedSystem;
    beforeAll(async () => {
      directory = await tempDirectory('azaion-older');
      path = join(directory.path, 'images.enc');
      allowed = join(directory.path, 'allowed');
      await writeFile(path, 'made later');
      await writeFile(allowed, `${REFERENCE} sha256:${'0'.repeat(64)}\n`);
      system = await startSystem({
        loaderEnv: {
          UNLOCK_RUNTIME: 'engine',
          DOCKER_HOST: docker.dockerHost,
          IMAGES_PATH: path,
          API_VERSION: '1.4.0',
          UNLOCK_IMAGES: 'azaion/flights',
          UNLOCK_ALLOWED_IMAGES_FILE: allowed,
        },
      });
    }, 120_000);
    afterAll(async () => {
      await system.stop();
      await directory.remove();
    });

    /** As a publisher to older devices: registers the archive, which makes the fragment, and writes `IV ‖ AES-256-CBC(tar)` under its SHA-256. */
    async function publishOlder(archive: Buffer): Promise<void> {
      const { email, password } = await system.createPerson('ResourceUploader');
      const publisher = new AzaionCommand(WORKSPACE, join(directory.path, 'profile.json'));
      await publisher.run(['login', '--api', system.adminUrl, '--email', email], password);
      const register = (name: string): ReturnType<AzaionCommand['run']> =>
        publisher.run(['legacy', 'register', 'images', '--output', join(directory.path, name)]);
      expect(await register('fragment')).toMatchObject({ bytes: 32, created: true });
      expect(await register('again')).toMatchObject({ bytes: 32, created: false });
      const [fragment, again] = await Promise.all(
        ['fragment', 'again'].map((name) => readFile(join(directory.path, name))),
      );
      expect(again).toEqual(fragment);
      const iv = randomBytes(16);
      const cipher = createCipheriv('aes-256-cbc', createHash('sha256').update(fragment!).digest(), iv);
      await writeFile(path, Buffer.concat([iv, cipher.update(archive), cipher.final()]));
    }

    it('is refused for want of a key while it is not registered, and by the allow-list; then it is loaded, and there', async () => {
      const { id, archive } = savedImage(REFERENCE);
      await writeFile(path, randomBytes(4096));
      expect((await unlock(system)).last).toMatchObject({ state: 'error', error: 'unlock.key-not-found' });
      await publishOlder(archive);
      expect((await unlock(system)).last).toMatchObject({ state: 'error', error: 'unlock.image-mismatch' });
      expect(() => imageId(REFERENCE)).toThrow();
      await writeFile(allowed, `${REFERENCE} ${id}\n`);
      expect((await unlock(system)).last).toMatchObject({ state: 'ready', error: null });
      expect(imageId(REFERENCE)).toBe(id);
      expect((await unlock(system)).first).toMatchObject({ state: 'ready' });
    }, 120_000);
  });
});
