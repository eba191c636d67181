import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { promisify } from 'node:util';

import { SystemClock } from '@azaion/kernel';
import {
  describeWith,
  type DockerDaemon,
  type GeneratedLayer,
  imageArchive,
  startDockerd,
  tempDirectory,
} from '@azaion/testing';
import {
  type ExpectedImage,
  type FoundArchive,
  type ImageRuntime,
  type OpenArchive,
  UnlockImages,
  type UnlockLimits,
  type UnlockRequest,
} from '@azaion/unlock';
import { InMemoryArchiveSource, InMemoryUnlockRecords, TEST_LIMITS } from '@azaion/unlock/testing';

import { TarArchiveInspector } from '../image-archive/index.js';
import { DockerCliImageRuntime } from './docker-cli-image-runtime.js';

const MB = 1_000_000;
const PIECE_BYTES = 65_536;
const NEVER = new AbortController().signal;
const REFERENCE = 'azaion/detections:1';

interface Archive {
  readonly bytes: Buffer;
  readonly images: readonly ExpectedImage[];
}

async function archiveOf(...layers: readonly GeneratedLayer[]): Promise<Archive> {
  const generated = await imageArchive([{ name: REFERENCE, layers }]);
  const [configDigest = ''] = generated.imageIds;
  const bytes = await buffer(generated.open());
  return { bytes, images: [{ reference: REFERENCE, configDigest, manifestDigest: null }] };
}

const base: GeneratedLayer = { seed: 'base', sizeBytes: 4 * MB };

function unlockOf(
  docker: DockerDaemon,
  limits?: Partial<Pick<UnlockLimits, 'leastPartBytes' | 'stall'>>,
): Promise<UnlockImages> {
  return unlockInto(new DockerCliImageRuntime({ command: 'docker', env: { DOCKER_HOST: docker.dockerHost } }), limits);
}

/** An unlock with the real inspector of archives. */
function unlockInto(runtime: ImageRuntime, limits: Parameters<typeof unlockOf>[1] = {}): Promise<UnlockImages> {
  return UnlockImages.restore({
    runtime: () => Promise.resolve(runtime),
    inspector: new TarArchiveInspector(),
    records: new InMemoryUnlockRecords(),
    clock: new SystemClock(),
    limits: { ...TEST_LIMITS, ...limits },
    onError: () => undefined,
  });
}

function request(archive: Archive, meanwhile?: () => unknown): UnlockRequest {
  const source =
    meanwhile === undefined
      ? new InMemoryArchiveSource(archive, PIECE_BYTES)
      : new InterruptedSource(archive, meanwhile);
  return { source, authenticate: () => Promise.resolve() };
}

/** An archive during whose load something happens. */
class InterruptedSource extends InMemoryArchiveSource {
  /** @param from - From this byte of the archive on. */
  constructor(
    archive: Archive,
    private readonly meanwhile: () => unknown,
    private readonly from = 0,
  ) {
    super(archive, PIECE_BYTES);
  }

  override async find(): Promise<FoundArchive> {
    const found = await super.find();
    const open = async (signal: AbortSignal): Promise<OpenArchive> => {
      const opened = await found.open(signal);
      return {
        ...opened,
        read: (readSignal, range) => {
          const bytes = opened.read(readSignal, range);
          return (range?.start ?? 0) < this.from ? bytes : interrupted(bytes, range, this.meanwhile);
        },
      };
    };
    return { ...found, open };
  }
}

/** The look at an archive's headers passes; the load itself is interrupted once, in its middle. */
async function* interrupted(
  bytes: AsyncIterable<Uint8Array>,
  range: { readonly end: number; readonly start: number } | undefined,
  meanwhile: () => unknown,
): AsyncGenerator<Uint8Array> {
  let passed = 0;
  let done = range !== undefined && range.end - range.start <= MB;
  for await (const piece of bytes) {
    yield piece;
    passed += piece.length;
    if (!done && passed > MB) {
      done = true;
      await meanwhile();
    }
  }
}

async function run(unlock: UnlockImages, wish: UnlockRequest): Promise<ReturnType<UnlockImages['status']>> {
  await unlock.start(wish);
  await unlock.settled();
  return unlock.status();
}

describeWith('docker', 'F4 with a Docker engine', () => {
  let docker: DockerDaemon;
  beforeEach(async () => {
    docker = await startDockerd();
  }, 90_000);
  afterEach(() => docker.stop(), 60_000);

  it('gives it only the layer that it does not have', async () => {
    const unlock = await unlockOf(docker);
    const own = (seed: string): GeneratedLayer => ({ seed, sizeBytes: MB });
    expect(await run(unlock, request(await archiveOf(base, own('one'))))).toMatchObject({
      state: 'ready',
      report: { reusedBytes: 0 },
    });
    const second = await archiveOf(base, own('two'));
    const { state, report } = await run(unlock, request(second));
    expect(state).toBe('ready');
    expect(report!.reusedBytes).toBeGreaterThan(4 * MB);
    expect(report!.loadedBytes).toBeLessThan(1.1 * MB);
    const runtime = new DockerCliImageRuntime({ command: 'docker', env: { DOCKER_HOST: docker.dockerHost } });
    expect(await runtime.present([REFERENCE], NEVER)).toEqual([
      { reference: REFERENCE, imageId: second.images[0]!.configDigest },
    ]);
  });

  it('gives it a layer that it has in another place of another image', async () => {
    const unlock = await unlockOf(docker);
    await run(unlock, request(await archiveOf(base, { seed: 'one', sizeBytes: MB })));
    // The same bytes above another layer are another layer to the engine.
    const { state, report } = await run(unlock, request(await archiveOf({ seed: 'two', sizeBytes: MB }, base)));
    expect([state, report!.reusedBytes]).toEqual(['ready', 0]);
  });

  it('reports one that is killed in the middle, and loads into it once it is back', async () => {
    const archive = await archiveOf(base);
    const unlock = await unlockOf(docker);
    let back: Promise<void> | undefined;
    const killed = await run(
      unlock,
      request(archive, () => (back = docker.killAndRestart())),
    );
    expect(killed).toMatchObject({ state: 'error', error: 'unlock.engine-unreachable' });
    await back;
    expect(await run(unlock, request(archive))).toMatchObject({ state: 'ready' });
  });

  it('reports one that hangs, and loads into it once it goes on', async () => {
    const archive = await archiveOf({ seed: 'long', sizeBytes: 8 * MB });
    const unlock = await unlockOf(docker, { stall: { archive: 60_000, engine: 1500, 'engine-end': 1500 } });
    const hung = await run(
      unlock,
      request(archive, () => process.kill(docker.pid, 'SIGSTOP')),
    );
    process.kill(docker.pid, 'SIGCONT');
    expect(hung).toMatchObject({ state: 'error', error: 'unlock.engine-stalled' });
    expect(await run(await unlockOf(docker), request(archive))).toMatchObject({ state: 'ready' });
  });

  describe('in parts', () => {
    const layers = ['one', 'two', 'three', 'four'].map((seed) => ({ seed, sizeBytes: 2 * MB }));
    const all = async (): Promise<string> =>
      (
        await promisify(execFile)('docker', [
          '-H',
          docker.dockerHost,
          'image',
          'ls',
          '--all',
          '--format',
          '{{.Repository}}:{{.Tag}}',
        ])
      ).stdout;

    it('takes a large archive, and holds its image alone', async () => {
      const archive = await archiveOf(...layers);
      const unlock = await unlockOf(docker, { leastPartBytes: MB });
      const { state, images, report } = await run(unlock, request(archive));
      expect([state, images, await all()]).toEqual([
        'ready',
        [{ reference: REFERENCE, configDigest: archive.images[0]!.configDigest, present: true }],
        `${REFERENCE}\n`,
      ]);
      expect(report!.loadedBytes).toBeGreaterThan(archive.bytes.length); // each part has a manifest of its own
    });

    it('keeps nothing of them when it is cancelled in the middle', async () => {
      const archive = await archiveOf(...layers);
      const unlock = await unlockOf(docker, { leastPartBytes: MB });
      let inMiddle = '';
      const cancelling = new InterruptedSource(
        archive,
        async () => {
          while (!inMiddle.includes('azaion-unlock-part')) inMiddle = await all();
          unlock.cancel();
        },
        4 * MB,
      );
      expect(await run(unlock, { ...request(archive), source: cancelling })).toMatchObject({
        error: 'unlock.cancelled',
      });
      expect(await all()).toBe('');
      expect(await run(unlock, request(archive))).toMatchObject({ state: 'ready', report: { reusedBytes: 0 } });
    });
  });

  it('leaves a cancelled load so that it can be repeated', async () => {
    const archive = await archiveOf(base);
    const unlock = await unlockOf(docker);
    expect(
      await run(
        unlock,
        request(archive, () => unlock.cancel()),
      ),
    ).toMatchObject({ error: 'unlock.cancelled' });
    expect(await run(unlock, request(archive))).toMatchObject({ state: 'ready' });
  });
});

describeWith('podman', 'F4 with podman', () => {
  it('gives it the whole archive, for it takes no other, and says so', async () => {
    const directory = await tempDirectory('azaion-podman');
    const places = ['--root', join(directory.path, 'root'), '--runroot', join(directory.path, 'run')];
    const globalArguments = [...places, '--storage-driver', 'vfs'];
    const runtime = new DockerCliImageRuntime({ command: 'podman', globalArguments });
    const unlock = await unlockInto(runtime);
    for (const seed of ['one', 'two']) {
      const archive = await archiveOf(base, { seed, sizeBytes: MB });
      expect(await run(unlock, request(archive))).toMatchObject({
        state: 'ready',
        report: { loadedBytes: archive.bytes.length, reusedBytes: 0 },
      });
      expect(await runtime.present([REFERENCE], NEVER)).toEqual([
        { reference: REFERENCE, imageId: archive.images[0]!.configDigest },
      ]);
    }
    await directory.remove();
  }, 90_000);
});

describeWith('docker', 'F4 with a Docker engine whose disk is too small', () => {
  it('says so, leaves it room, and loads what fits', async () => {
    const docker = await startDockerd({ storageBytes: 40 * MB });
    try {
      const unlock = await unlockOf(docker);
      const tooLarge = await archiveOf({ seed: 'large', sizeBytes: 60 * MB });
      expect(await run(unlock, request(tooLarge))).toMatchObject({ state: 'error', error: 'unlock.no-space' });
      expect(await run(unlock, request(await archiveOf(base)))).toMatchObject({ state: 'ready', error: null });
    } finally {
      await docker.stop();
    }
  }, 90_000);
});
