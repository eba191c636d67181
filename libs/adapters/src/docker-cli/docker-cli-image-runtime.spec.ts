import { randomBytes } from 'node:crypto';
import { chmod, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { describeWith, type DockerDaemon, startDockerd, tempDirectory, type TempDirectory } from '@azaion/testing';
import { dockerArchive, describeImageRuntime, inPieces } from '@azaion/unlock/testing';

import { DockerCliImageRuntime } from './docker-cli-image-runtime.js';

const NEVER = new AbortController().signal;
const archive = dockerArchive([{ reference: 'azaion/killed:1', content: randomBytes(4 * 1024 * 1024) }]);

describeWith('docker', 'DockerCliImageRuntime with docker', () => {
  let daemon: DockerDaemon;
  beforeAll(async () => {
    daemon = await startDockerd();
  });
  afterAll(() => daemon.stop());

  describeImageRuntime('DockerCliImageRuntime', () =>
    Promise.resolve(new DockerCliImageRuntime({ command: 'docker', env: { DOCKER_HOST: daemon.dockerHost } })),
  );

  it('leaves no file with the plaintext behind, neither of a finished nor of a broken load', async () => {
    const runtime = new DockerCliImageRuntime({ command: 'docker', env: { DOCKER_HOST: daemon.dockerHost } });
    const breaking = async function* (): AsyncGenerator<Uint8Array> {
      yield* inPieces(archive.bytes.subarray(0, 3 * 1024 * 1024), 65_536);
      throw new Error('broken');
    };
    await expect(runtime.load(breaking(), NEVER)).rejects.toThrow('broken');
    await runtime.load(inPieces(archive.bytes, 65_536), NEVER);
    expect(await readdir(join(daemon.dataRoot, 'tmp'))).toEqual([]);
  });
});

describeWith('docker', 'DockerCliImageRuntime when the engine is killed in the middle of a load', () => {
  it('says that the engine does not answer', async () => {
    const daemon = await startDockerd();
    try {
      const runtime = new DockerCliImageRuntime({ command: 'docker', env: { DOCKER_HOST: daemon.dockerHost } });
      const killing = async function* (): AsyncGenerator<Uint8Array> {
        yield* inPieces(archive.bytes.subarray(0, 2 * 1024 * 1024), 65_536);
        process.kill(daemon.pid, 'SIGKILL');
        yield* inPieces(archive.bytes.subarray(2 * 1024 * 1024), 65_536);
      };
      await expect(runtime.load(killing(), NEVER)).rejects.toMatchObject({ code: 'unlock.engine-unreachable' });
      await expect(runtime.present(['azaion/killed:1'], NEVER)).rejects.toMatchObject({
        code: 'unlock.engine-unreachable',
      });
    } finally {
      await daemon.stop();
    }
  });
});

describeWith('podman', 'DockerCliImageRuntime with podman', () => {
  let directory: TempDirectory;
  describeImageRuntime(
    'DockerCliImageRuntime (podman)',
    async () => {
      directory = await tempDirectory('azaion-podman');
      return new DockerCliImageRuntime(
        {
          command: 'podman',
          globalArguments: [
            ...['--root', join(directory.path, 'root'), '--runroot', join(directory.path, 'run')],
            ...['--storage-driver', 'vfs'],
          ],
        },
        directory.path,
      );
    },
    () => directory.remove(),
  );
});

describe('DockerCliImageRuntime with a CLI that keeps the archive in a file while it loads', () => {
  let directory: TempDirectory;
  let command: string;
  beforeEach(async () => {
    directory = await tempDirectory('azaion-load');
    command = join(directory.path, 'cli');
    // As podman does: the file stays when the process is killed.
    await writeFile(command, '#!/bin/sh\ncat > "$TMPDIR/archive"\necho "no space left on device" >&2\nexit 1\n');
    await chmod(command, 0o755);
    await mkdir(join(directory.path, 'root'));
  });
  afterEach(() => directory.remove());

  const left = (): Promise<string[]> => readdir(join(directory.path, 'root'));
  const runtime = (): DockerCliImageRuntime => new DockerCliImageRuntime({ command }, join(directory.path, 'root'));

  it('leaves nothing of it behind when the load ends, however it ends', async () => {
    let during: string[] = [];
    const watched = async function* (): AsyncGenerator<Uint8Array> {
      during = await left();
      yield* inPieces(archive.bytes, 65_536);
    };
    await expect(runtime().load(watched(), NEVER)).rejects.toMatchObject({ code: 'unlock.no-space' });
    expect(during).toHaveLength(1);
    expect(await left()).toEqual([]);
    const abort = new AbortController();
    const aborting = async function* (): AsyncGenerator<Uint8Array> {
      yield* inPieces(archive.bytes.subarray(0, 1_000_000), 65_536);
      abort.abort(new Error('enough'));
    };
    await expect(runtime().load(aborting(), abort.signal)).rejects.toThrow('enough');
    expect(await left()).toEqual([]);
  });

  it('takes away what a killed process left, and nothing of others', async () => {
    const root = join(directory.path, 'root');
    const ended = 2 ** 22 + 1; // no kernel gives out larger ones than 2^22
    for (const name of [`azaion-load-${ended}-abc`, `azaion-load-${process.pid}-abc`, 'other'])
      await mkdir(join(root, name));
    await writeFile(join(root, `azaion-load-${ended}-abc`, 'archive'), 'plaintext');
    await expect(runtime().load(inPieces(archive.bytes, 65_536), NEVER)).rejects.toThrow();
    expect((await left()).toSorted()).toEqual([`azaion-load-${process.pid}-abc`, 'other'].toSorted());
  });
});

describe('DockerCliImageRuntime without a usable engine', () => {
  let directory: TempDirectory;
  beforeAll(async () => {
    directory = await tempDirectory('azaion-cli');
  });
  afterAll(() => directory.remove());

  /** A CLI that does what the shell script says. */
  const cli = async (script: string): Promise<DockerCliImageRuntime> => {
    const command = join(directory.path, `cli-${randomBytes(4).toString('hex')}`);
    await writeFile(command, `#!/bin/sh\n${script}\n`);
    await chmod(command, 0o755);
    return new DockerCliImageRuntime({ command });
  };

  it('says that the CLI is not installed', async () => {
    const runtime = new DockerCliImageRuntime({ command: join(directory.path, 'missing') });
    await expect(runtime.present(['a:1'], NEVER)).rejects.toMatchObject({ code: 'unlock.engine-not-installed' });
    await expect(runtime.load(inPieces(archive.bytes, 65_536), NEVER)).rejects.toMatchObject({
      code: 'unlock.engine-not-installed',
    });
  });

  it('says that the CLI may not be run', async () => {
    const command = join(directory.path, 'plain-file');
    await writeFile(command, '');
    const runtime = new DockerCliImageRuntime({ command });
    await expect(runtime.present(['a:1'], NEVER)).rejects.toMatchObject({ code: 'unlock.engine-forbidden' });
  });

  it.each([
    ['Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?', 'unlock.engine-unreachable'],
    ['error during connect: Post "http://x/images/load": EOF', 'unlock.engine-unreachable'],
    ['Got permission denied while trying to connect to the Docker daemon socket', 'unlock.engine-forbidden'],
    ['write /var/lib/docker/tmp/x: no space left on device', 'unlock.no-space'],
    ['Error processing tar file(exit status 1): unexpected EOF', 'unlock.archive-invalid'],
    ['Error response from daemon: something else', 'unlock.engine-failed'],
    ['', 'unlock.engine-failed'],
  ])('puts "%s" into words', async (stderr, code) => {
    const runtime = await cli(`cat >/dev/null; echo '${stderr}' >&2; exit 1`);
    await expect(runtime.load(inPieces(archive.bytes, 65_536), NEVER)).rejects.toMatchObject({ code });
    const message = await runtime.load(inPieces(archive.bytes, 65_536), NEVER).catch((error: unknown) => String(error));
    expect(message).not.toContain('/');
  });

  // The HTTP API answers 200 and puts the error inside: the CLI then prints it and may still end with status 0.
  it('takes a success that loaded nothing for what it is', async () => {
    const runtime = await cli(`cat >/dev/null; echo 'no space left on device' >&2; exit 0`);
    await expect(runtime.load(inPieces(archive.bytes, 65_536), NEVER)).rejects.toMatchObject({
      code: 'unlock.no-space',
    });
  });

  it('reports a CLI that ends before it has read its input', async () => {
    const runtime = await cli(`echo 'no space left on device' >&2; exit 1`);
    await expect(runtime.load(inPieces(archive.bytes, 65_536), NEVER)).rejects.toMatchObject({
      code: 'unlock.no-space',
    });
  });

  it('keeps little of what a CLI prints', async () => {
    const runtime = await cli(`cat >/dev/null; yes | head -c 10000000; echo 'no space left on device' >&2; exit 1`);
    await expect(runtime.load(inPieces(archive.bytes, 65_536), NEVER)).rejects.toMatchObject({
      code: 'unlock.no-space',
    });
  });

  it('stops a CLI that hangs when it is aborted', async () => {
    const runtime = await cli('exec sleep 1000');
    const abort = new AbortController();
    const reason = new Error('enough');
    const endless = async function* (): AsyncGenerator<Uint8Array> {
      yield* inPieces(archive.bytes.subarray(0, 100), 50);
      abort.abort(reason);
      yield* inPieces(archive.bytes, 65_536);
    };
    await expect(runtime.load(endless(), abort.signal)).rejects.toBe(reason);
  });

  it('never lets a reference become an option', async () => {
    const runtime = await cli('echo used > used; exit 0');
    for (const reference of ['--help', '-a', '', 'a b', 'a;b', '$(x)'])
      await expect(runtime.present([reference], NEVER)).rejects.toMatchObject({ code: 'unlock.archive-invalid' });
  });

  it("hands nothing of this process's environment on but what a container CLI needs", async () => {
    const file = join(directory.path, 'environment');
    process.env['AZAION_TEST_SECRET'] = 'do not pass on';
    try {
      const runtime = await cli(`env > ${file}; echo 'No such image' >&2; exit 1`);
      await runtime.present(['a:1'], NEVER);
      expect(await readFile(file, 'utf8')).not.toContain('do not pass on');
    } finally {
      delete process.env['AZAION_TEST_SECRET'];
    }
  });
});
