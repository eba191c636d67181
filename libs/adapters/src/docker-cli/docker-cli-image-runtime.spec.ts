import { randomBytes } from 'node:crypto';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';

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
      return new DockerCliImageRuntime({
        command: 'podman',
        globalArguments: [
          ...['--root', join(directory.path, 'root'), '--runroot', join(directory.path, 'run')],
          ...['--storage-driver', 'vfs'],
        ],
      });
    },
    () => directory.remove(),
  );

  it('hands no byte to it where its copy of the archive would lie on a disk', async () => {
    const onDisk = new DockerCliImageRuntime({ command: 'podman' }, ['/proc', '/no/such/directory']);
    await expect(onDisk.load(neverRead(), NEVER)).rejects.toMatchObject({ code: 'unlock.plaintext-on-disk' });
  });
});

describe('DockerCliImageRuntime with a CLI that copies the archive into a file while it loads', () => {
  let directory: TempDirectory;
  let root: string;
  beforeEach(async () => {
    directory = await tempDirectory('azaion-load');
    root = await mkdtemp('/dev/shm/azaion-test-');
  });
  afterEach(async () => {
    await rm(root, { recursive: true });
    await directory.remove();
  });

  /** A command of any name that answers as podman does; its file stays when the process is killed. */
  const cli = async (more = ''): Promise<DockerCliImageRuntime> => {
    const command = join(directory.path, `docker-${randomBytes(4).toString('hex')}`);
    const script = [
      'case "$1" in',
      more,
      '--version) echo "podman version 4.3.1"; exit;;',
      'info) echo false; exit;;',
      'esac',
      'cat > "$TMPDIR/archive"; echo "no space left on device" >&2; exit 1',
    ];
    await writeFile(command, `#!/bin/sh\n${script.join('\n')}\n`);
    await chmod(command, 0o755);
    return new DockerCliImageRuntime({ command }, [root]);
  };

  it('leaves nothing of it behind when the load ends, however it ends', async () => {
    let during: string[] = [];
    const watched = async function* (): AsyncGenerator<Uint8Array> {
      during = await readdir(root);
      yield* inPieces(archive.bytes, 65_536);
    };
    await expect((await cli()).load(watched(), NEVER)).rejects.toMatchObject({ code: 'unlock.no-space' });
    expect(during).toHaveLength(1);
    expect(await readdir(root)).toEqual([]);
    const abort = new AbortController();
    const aborting = async function* (): AsyncGenerator<Uint8Array> {
      yield* inPieces(archive.bytes.subarray(0, 1_000_000), 65_536);
      abort.abort(new Error('enough'));
    };
    await expect((await cli()).load(aborting(), abort.signal)).rejects.toThrow('enough');
    expect(await readdir(root)).toEqual([]);
  });

  it('takes away what a killed process left, and nothing of those at work', async () => {
    await mkdir(join(root, 'azaion-load-killed'));
    await writeFile(join(root, 'azaion-load-killed', 'archive'), 'plaintext');
    await mkdir(join(root, 'other'));
    let beside: string[] = [];
    const meanwhile = async function* (): AsyncGenerator<Uint8Array> {
      const before = await readdir(root);
      await expect((await cli()).load(inPieces(archive.bytes, 65_536), NEVER)).rejects.toThrow();
      beside = before.filter((name) => name.startsWith('azaion-load-'));
      expect(await readdir(root)).toEqual(expect.arrayContaining(beside) as string[]);
      yield* inPieces(archive.bytes, 65_536);
    };
    await expect((await cli()).load(meanwhile(), NEVER)).rejects.toThrow('full');
    expect(beside).toHaveLength(1);
    expect(await readdir(root)).toEqual(['other']);
  });

  it.each([
    ['podman speaks to a service that copies it where it likes', 'info) echo true; exit;;'],
    [
      "docker's CLI speaks to podman's service",
      '--version) echo "Docker version 28.2.2, build e6534b4"; exit;;\nversion) echo "Podman Engine Conmon"; exit;;',
    ],
  ])('hands no byte over when %s', async (_, answers) => {
    await expect((await cli(answers)).load(neverRead(), NEVER)).rejects.toMatchObject({
      code: 'unlock.plaintext-on-disk',
    });
  });

  const DOCKER = '--version) echo "Docker version 28.2.2, build e6534b4"; exit;;';
  it.each([
    ['podman does not say where it runs', 'info) exit 125;;', 'unlock.plaintext-on-disk'],
    ["docker's CLI does not say what it speaks to", `${DOCKER}\nversion) exit 1;;`, 'unlock.plaintext-on-disk'],
    ['the CLI does not say what it is', '--version) exit 1;;', 'unlock.plaintext-on-disk'],
    ['the CLI says nothing', '--version) exit;;', 'unlock.plaintext-on-disk'],
    ['nobody knows the CLI', '--version) echo "finch version v1.2.3"; exit;;', 'unlock.plaintext-on-disk'],
    ['the CLI only resembles one', '--version) echo "Emulate Docker CLI"; exit;;', 'unlock.plaintext-on-disk'],
    [
      'the engine is away',
      `${DOCKER}\nversion) echo "Cannot connect to the Docker daemon" >&2; exit 1;;`,
      'unlock.engine-unreachable',
    ],
  ])('hands no byte over when %s', async (_, answers, code) => {
    await expect((await cli(answers)).load(neverRead(), NEVER)).rejects.toMatchObject({ code });
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
    await writeFile(command, `#!/bin/sh\n[ "$1" = --version ] && { echo "nerdctl version 2.0.0"; exit; }\n${script}\n`);
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
    ['Error processing tar file(exit status 1): write /x: no space left on device', 'unlock.no-space'],
    ['Error processing tar file(exit status 1): lchown /x: operation not permitted', 'unlock.engine-failed'],
    ['failed to register layer: mkdir /permission denied/x: invalid argument', 'unlock.engine-failed'],
    ['failed to register layer: open /no space left on device/x: file exists', 'unlock.engine-failed'],
    ['Error: copying layer: applying layer: open /x: permission denied', 'unlock.engine-failed'],
    ['Error: open /run/user/0/containers: permission denied', 'unlock.engine-forbidden'],
    ['dial unix /run/containerd/containerd.sock: connect: permission denied', 'unlock.engine-forbidden'],
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

  it('gives the memory of every part back once the pipe has it', async () => {
    const runtime = await cli(`cat >/dev/null; exit 1`);
    const parts: Uint8Array[] = [];
    const noted = async function* (): AsyncGenerator<Uint8Array> {
      for await (const part of inPieces(archive.bytes, 65_536)) {
        parts.push(part);
        yield part;
      }
    };
    await expect(runtime.load(noted(), NEVER)).rejects.toThrow();
    expect(parts.length).toBeGreaterThan(0);
    expect(parts.filter(({ length }) => length > 0)).toEqual([]);
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

  it('stops the processes that a CLI has started, not the CLI alone, when it is aborted', async () => {
    const pids = join(directory.path, 'pids');
    // The CLI, a plugin of it, and what that has started; as "docker compose" and "podman" have them.
    const runtime = await cli(`sh -c 'sleep 1000 & echo $! > ${pids}.new; mv ${pids}.new ${pids}; wait' & wait`);
    const abort = new AbortController();
    const reason = new Error('enough');
    const untilStarted = async function* (): AsyncGenerator<Uint8Array> {
      yield* inPieces(archive.bytes.subarray(0, 100), 50);
      while ((await readFile(pids, 'utf8').catch(() => '')) === '') await setImmediate();
      abort.abort(reason);
      yield* inPieces(archive.bytes, 65_536);
    };
    await expect(runtime.load(untilStarted(), abort.signal)).rejects.toBe(reason);
    await untilGone(Number(await readFile(pids, 'utf8')));
  });

  it('stops a CLI whose group it may not end', async () => {
    const runtime = await cli('exec sleep 1000');
    const abort = new AbortController();
    const reason = new Error('enough');
    const kill = process.kill.bind(process);
    process.kill = () => {
      throw Object.assign(new Error('kill EPERM'), { code: 'EPERM' });
    };
    try {
      const untilStarted = async function* (): AsyncGenerator<Uint8Array> {
        yield* inPieces(archive.bytes.subarray(0, 100), 50);
        expect(() => abort.abort(reason)).not.toThrow();
        yield* inPieces(archive.bytes, 65_536);
      };
      await expect(runtime.load(untilStarted(), abort.signal)).rejects.toBe(reason);
    } finally {
      process.kill = kill;
    }
  });

  it('does not believe the ids of a command that failed', async () => {
    const runtime = await cli(
      `case "$*" in *"a:1 b:1"*) echo ${'a'.repeat(64)}; echo ${'b'.repeat(64)}; exit 1;; esac; echo "No such image" >&2; exit 1`,
    );
    expect(await runtime.present(['a:1', 'b:1'], NEVER)).toEqual([]);
  });

  it.each([
    ['all are there', `echo ${'a'.repeat(64)}; echo ${'b'.repeat(64)}`, 2],
    ['none is there', 'echo; echo "Error: No such image: a:1" >&2; echo "Error: No such image: b:1" >&2; exit 1', 0],
  ])('asks about many images with one command when %s', async (_, script, found) => {
    const calls = join(directory.path, 'calls');
    await rm(calls, { force: true });
    const runtime = await cli(`echo "$@" >> ${calls}\n${script}`);
    expect(await runtime.present(['a:1', 'b:1'], NEVER)).toHaveLength(found);
    expect((await readFile(calls, 'utf8')).trim().split('\n')).toHaveLength(1);
  });

  it('asks about each image when only some are there, or the engine stops in the middle', async () => {
    const some = await cli(
      `case "$*" in *"a:1 b:1"*) echo "No such image: a:1" >&2; echo ${'b'.repeat(64)}; exit 1;; *a:1*) echo "No such image" >&2; exit 1;; esac; echo ${'b'.repeat(64)}`,
    );
    expect(await some.present(['a:1', 'b:1'], NEVER)).toEqual([
      { reference: 'b:1', imageId: `sha256:${'b'.repeat(64)}` },
    ]);
    const stopping = await cli(
      'case "$*" in *"a:1 b:1"*) echo "No such image: a:1" >&2;; esac; echo "Cannot connect to the Docker daemon" >&2; exit 1',
    );
    await expect(stopping.present(['a:1', 'b:1'], NEVER)).rejects.toMatchObject({ code: 'unlock.engine-unreachable' });
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

/** An archive that fails the test when anybody reads it. */
// eslint-disable-next-line @typescript-eslint/require-await -- it never gets so far
async function* neverRead(): AsyncGenerator<Uint8Array> {
  throw new Error('somebody read the archive');
}

/** Waits until a process has ended; one that nobody has waited for yet has, too. */
async function untilGone(pid: number): Promise<void> {
  for (;;) {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
    if (stat === undefined || / Z /.test(stat)) return;
    await setImmediate();
  }
}
