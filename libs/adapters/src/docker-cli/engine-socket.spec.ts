import { once } from 'node:events';
import { chmod, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';

import { describeWith, type DockerDaemon, startDockerd, tempDirectory, type TempDirectory } from '@azaion/testing';
import { describeImageRuntime, dockerArchive, inPieces } from '@azaion/unlock/testing';

import { ContainerCli } from './container-cli.js';
import { DockerCliImageRuntime } from './docker-cli-image-runtime.js';
import { engineSocketPath, reachedEngine, startSocketLoad } from './engine-socket.js';

const NEVER = new AbortController().signal;
const PIECE_BYTES = 65_536;
const [REFERENCE, ID, ENGINE_ID] = ['azaion/detections:1', 'a'.repeat(64), 'ABCD:EFGH'];
const archive = dockerArchive([{ reference: REFERENCE, content: Buffer.alloc(3_000_000, 7) }]);

type Answer = (request: IncomingMessage, response: ServerResponse) => unknown;

let directory: TempDirectory;
beforeEach(async () => {
  directory = await tempDirectory('azaion-engine');
});
afterEach(() => directory.remove());

/** A command that does what a shell script says. */
async function command(script: string): Promise<string> {
  const path = join(directory.path, 'cli');
  await writeFile(path, `#!/bin/sh\n${script}\n`);
  await chmod(path, 0o755);
  return path;
}

describeWith('docker', 'DockerCliImageRuntime with docker on a socket of this machine', () => {
  let docker: DockerDaemon;
  beforeAll(async () => {
    docker = await startDockerd();
  }, 60_000);
  afterAll(() => docker.stop());

  /** docker, and a note of how it was called. */
  const noted = (more = ''): Promise<string> =>
    command(`echo "$1 $2" >> ${join(directory.path, 'calls')}\n${more}\nexec docker "$@"`);
  const calls = async (): Promise<string[]> =>
    (await readFile(join(directory.path, 'calls'), 'utf8'))
      .trim()
      .split('\n')
      .map((line) => line.trim());

  it('hands the archive to the engine without a process between', async () => {
    const runtime = new DockerCliImageRuntime({ command: await noted(), env: { DOCKER_HOST: docker.dockerHost } });
    await runtime.load(inPieces(archive.bytes, PIECE_BYTES), NEVER);
    expect(await calls()).toEqual(['--version', 'version --format', 'context inspect', 'info --format']);
  });

  describe('that the CLI does not name', () => {
    let own: TempDirectory;
    describeImageRuntime(
      'DockerCliImageRuntime (through the CLI)',
      async () => {
        own = await tempDirectory('azaion-cli');
        const path = join(own.path, 'docker');
        await writeFile(path, '#!/bin/sh\n[ "$1" = context ] && exit 1\nexec docker "$@"\n');
        await chmod(path, 0o755);
        return new DockerCliImageRuntime({ command: path, env: { DOCKER_HOST: docker.dockerHost } });
      },
      () => own.remove(),
    );
  });

  it('loads through the CLI where nobody answers on the socket', async () => {
    const away = `[ "$1" = context ] && { echo unix://${directory.path}/away.sock; exit; }`;
    const runtime = new DockerCliImageRuntime({ command: await noted(away), env: { DOCKER_HOST: docker.dockerHost } });
    await runtime.load(inPieces(archive.bytes, PIECE_BYTES), NEVER);
    expect(await calls()).toContain('load');
  });
});

describe('An engine behind a socket', () => {
  let server: Server;
  let load: Answer;
  let ping: Answer;
  let image: Answer;
  let info: Answer;
  let socketPath: string;
  beforeEach(async () => {
    ping = (_, response) => response.setHeader('api-version', '1.41').end('OK');
    image = (_, response) => say(response, 200, { Id: `sha256:${ID}` });
    info = (_, response) => say(response, 200, { ID: ENGINE_ID });
    load = async (request, response) => {
      await buffer(request);
      say(response, 200, { stream: `Loaded image: ${REFERENCE}\n` });
    };
    socketPath = join(directory.path, 'docker.sock');
    server = createServer((request, response) => {
      const { method, url = '' } = request;
      const asked = url.endsWith('/info') ? info : image;
      void (url === '/_ping' ? ping : method === 'GET' ? asked : load)(request, response);
    });
    await once(server.listen(socketPath), 'listening');
  });
  afterEach(async () => {
    server.closeAllConnections();
    await new Promise((closed) => server.close(closed));
  });

  const say = (response: ServerResponse, status: number, ...messages: readonly unknown[]): void => {
    response.writeHead(status).end(messages.map((message) => `${JSON.stringify(message)}\r\n`).join(''));
  };

  /** A docker that names this engine and holds the image. */
  const runtime = async (): Promise<DockerCliImageRuntime> =>
    new DockerCliImageRuntime({
      command: await command(
        [
          'case "$1" in',
          '--version) echo "Docker version 28.2.2, build e6534b4"; exit;;',
          'version) echo "Engine containerd runc"; exit;;',
          `context) echo unix://${socketPath}; exit;;`,
          `info) echo ${ENGINE_ID}; exit;;`,
          `image) echo sha256:${'b'.repeat(64)}; exit;;`,
          'esac',
          'echo "called with $*" >&2; exit 1',
        ].join('\n'),
      ),
    });

  it('gets the archive byte for byte, by the version of its API, in chunks and without a word of progress', async () => {
    let got: Buffer | undefined;
    let asked: IncomingMessage | undefined;
    load = async (request, response) => {
      asked = request;
      got = await buffer(request);
      say(response, 200, { stream: `Loaded image: ${REFERENCE}\n` });
    };
    const loaded = await (await runtime()).load(inPieces(archive.bytes, PIECE_BYTES), NEVER);
    expect(loaded).toEqual([{ reference: REFERENCE, imageId: `sha256:${ID}` }]);
    expect(got!.equals(archive.bytes)).toBe(true);
    expect([asked!.method, asked!.url, asked!.headers['transfer-encoding']]).toEqual([
      'POST',
      '/v1.41/images/load?quiet=1',
      'chunked',
    ]);
  });

  it('gives the memory of every part back once the engine has it', async () => {
    const parts: Uint8Array[] = [];
    const noted = async function* (): AsyncGenerator<Uint8Array> {
      for await (const part of inPieces(archive.bytes, PIECE_BYTES)) {
        parts.push(part);
        yield part;
      }
    };
    await (await runtime()).load(noted(), NEVER);
    expect(parts.length).toBeGreaterThan(0);
    expect(parts.filter(({ length }) => length > 0)).toEqual([]);
  });

  it.each<[string, number, unknown[], string]>([
    ['an error inside a success', 200, [{ error: 'write /x: no space left on device' }], 'unlock.no-space'],
    [
      'an error behind an image that it loaded',
      200,
      [{ stream: `Loaded image: ${REFERENCE}\n` }, { error: 'invalid manifest' }],
      'unlock.archive-invalid',
    ],
    ['a refusal', 500, [{ message: 'Error processing tar file: unexpected EOF' }], 'unlock.archive-invalid'],
    [
      'a version that it does not speak any more',
      400,
      [{ message: 'client version is too old' }],
      'unlock.engine-failed',
    ],
    ['a success that loaded nothing', 200, [], 'unlock.engine-failed'],
    ['what nobody understands', 200, ['text', 7, null, ['x'], { stream: 7, error: {} }], 'unlock.engine-failed'],
    [
      'an image that it could not unpack',
      200,
      [{ stream: `Loaded image: ${REFERENCE}\n` }, { stream: 'Error unpacking image x: no space left on device\n' }],
      'unlock.no-space',
    ],
    [
      'more than anybody reads',
      200,
      [
        { stream: `Loaded image: ${REFERENCE}\n` },
        ...Array.from({ length: 30 }, () => ({ stream: 'x'.repeat(100_000) })),
      ],
      'unlock.engine-unreachable',
    ],
  ])('that answers %s has not loaded it', async (_, status, messages, code) => {
    load = async (request, response) => {
      await buffer(request);
      say(response, status, ...messages);
    };
    await expect((await runtime()).load(inPieces(archive.bytes, PIECE_BYTES), NEVER)).rejects.toMatchObject({ code });
  });

  it('that is hidden behind something else has its words in the log', async () => {
    load = async (request, response) => {
      await buffer(request);
      response.writeHead(403).end('<html>blocked</html>');
    };
    await expect((await runtime()).load(inPieces(archive.bytes, PIECE_BYTES), NEVER)).rejects.toMatchObject({
      code: 'unlock.engine-failed',
      cause: { message: expect.stringContaining('HTTP 403: <html>blocked') as string },
    });
  });

  it('that podman has taken the place of gets nothing', async () => {
    const taken = await runtime();
    await taken.load(inPieces(archive.bytes, PIECE_BYTES), NEVER);
    ping = (_, response) =>
      response.setHeader('api-version', '1.41').setHeader('libpod-api-version', '5.0.0').end('OK');
    const cli = join(directory.path, 'cli');
    await writeFile(cli, (await readFile(cli, 'utf8')).replace('Engine containerd runc', 'Podman Engine Conmon'));
    load = () => {
      throw new Error('it got the archive');
    };
    await expect(taken.load(inPieces(archive.bytes, PIECE_BYTES), NEVER)).rejects.toMatchObject({
      code: 'unlock.plaintext-on-disk',
    });
  });

  it.each<[string, Answer]>([
    ['is another one than the CLI speaks to', (_, response) => say(response, 200, { ID: 'another' })],
    ['has no id', (_, response) => say(response, 200, { ID: '' })],
    ['does not say', (_, response) => say(response, 500, { ID: ENGINE_ID })],
  ])('that %s gets nothing', async (_, answer) => {
    info = answer;
    load = () => {
      throw new Error('it got the archive');
    };
    // The CLI of this suite loads nothing.
    await expect((await runtime()).load(inPieces(archive.bytes, PIECE_BYTES), NEVER)).rejects.toMatchObject({
      code: 'unlock.engine-failed',
      cause: { message: expect.stringContaining('called with load') as string },
    });
  });

  it('that refuses before it has read everything is heard, and nothing more is read of the archive', async () => {
    const words = JSON.stringify({ message: 'write /x: no space left on device' });
    // The connection stays for a while, as with servers in Go: who closes it at once may take the answer away.
    load = ({ socket }) => {
      socket
        .pause()
        .write(`HTTP/1.1 500 Error\r\nContent-Length: ${words.length}\r\nConnection: close\r\n\r\n${words}`);
    };
    let handedOver = 0;
    const endless = async function* (): AsyncGenerator<Uint8Array> {
      for (;;) {
        handedOver += PIECE_BYTES;
        yield Buffer.alloc(PIECE_BYTES);
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
    };
    await expect((await runtime()).load(endless(), NEVER)).rejects.toMatchObject({ code: 'unlock.no-space' });
    expect(handedOver).toBeLessThan(200 * PIECE_BYTES);
  });

  it.each<[string, Answer]>([
    ['before it answers', (request) => request.once('data', () => request.socket.destroy())],
    [
      'within its answer',
      (request, response) => {
        request.resume().once('end', () => {
          response.writeHead(200, { 'content-length': 1000 }).write('{"stream":');
          setTimeout(() => request.socket.destroy(), 20);
        });
      },
    ],
  ])('that breaks the connection off %s does not answer', async (_, answer) => {
    load = answer;
    await expect((await runtime()).load(inPieces(archive.bytes, PIECE_BYTES), NEVER)).rejects.toMatchObject({
      code: 'unlock.engine-unreachable',
    });
  });

  it('that hangs is given up when the load is aborted, and never takes what it has for an archive', async () => {
    const abort = new AbortController();
    const reason = new Error('enough');
    let ended: unknown;
    const seen = new Promise<void>((resolve) => {
      load = (request) => {
        request.resume().once('data', () => abort.abort(reason));
        request.once('end', () => (ended = 'normally'));
        request.once('close', resolve);
      };
    });
    const hanging = async function* (): AsyncGenerator<Uint8Array> {
      yield* inPieces(archive.bytes.subarray(0, 200_000), PIECE_BYTES);
      await new Promise(() => undefined);
    };
    await expect((await runtime()).load(hanging(), abort.signal)).rejects.toBe(reason);
    await seen;
    expect(ended).toBeUndefined();
  });

  it('that does not say which API it speaks, or is away, is none', async () => {
    expect(await reachedEngine(socketPath, NEVER)).toEqual({ path: socketPath, apiVersion: '1.41', isPodman: false });
    for (const version of ['', '1', '1.41/../x', 'latest', '9999.1']) {
      ping = (_, response) => response.setHeader('api-version', version).end('OK');
      expect(await reachedEngine(socketPath, NEVER)).toBeUndefined();
    }
    ping = (_, response) => response.writeHead(503, { 'api-version': '1.41' }).end();
    expect(await reachedEngine(socketPath, NEVER)).toBeUndefined();
    ping = (request) => request.socket.destroy();
    expect(await reachedEngine(socketPath, NEVER)).toBeUndefined();
    ping = () => undefined;
    await expect(reachedEngine(socketPath, AbortSignal.timeout(20))).rejects.toMatchObject({ name: 'TimeoutError' });
    await rm(socketPath);
    expect(await reachedEngine(socketPath, NEVER)).toBeUndefined();
  });

  describe('asked for an image', () => {
    const ofCli = [{ reference: REFERENCE, imageId: `sha256:${'b'.repeat(64)}` }];
    const present = async (): Promise<unknown> => (await runtime()).present([REFERENCE], NEVER);

    it('is believed, and asked by the whole name', async () => {
      let url: string | undefined;
      image = (request, response) => {
        ({ url } = request);
        say(response, 200, { Id: `sha256:${ID}`, RepoTags: [REFERENCE] });
      };
      expect(await present()).toEqual([{ reference: REFERENCE, imageId: `sha256:${ID}` }]);
      expect(url).toBe('/v1.41/images/azaion%2Fdetections%3A1/json');
    });

    it.each<[string, Answer]>([
      ['another status', (_, response) => say(response, 500, { Id: `sha256:${ID}` })],
      ['no id', (_, response) => say(response, 200, { Id: 'sha256:short' })],
      ['no page rather than no image', (_, response) => say(response, 404, { message: 'page not found' })],
      ['nothing', (request) => request.socket.destroy()],
      [
        'half a word',
        (request, response) => {
          response.writeHead(200, { 'content-length': 1000 }).write('{"Id":');
          setTimeout(() => request.socket.destroy(), 20);
        },
      ],
      [
        'another protocol',
        ({ socket }) => {
          socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: tcp\r\n\r\n');
        },
      ],
    ])('and answering with %s leaves it to the CLI', async (_, answer) => {
      image = answer;
      expect(await present()).toEqual(ofCli);
    });

    it('and saying that there is none is believed, also between others', async () => {
      image = ({ url = '' }, response) => {
        if (url.includes('missing')) say(response, 404, { message: 'No such image: missing:1' });
        else say(response, 200, { Id: `sha256:${ID}` });
      };
      const asked = ['localhost:5000/a/b', 'missing:1', `c@sha256:${ID}`];
      const found = await (await runtime()).present(asked, NEVER);
      expect(found).toEqual([asked[0], asked[2]].map((reference) => ({ reference, imageId: `sha256:${ID}` })));
    });

    it('and silent, is asked no longer once the question is taken back', async () => {
      const abort = new AbortController();
      const reason = new Error('enough');
      image = () => abort.abort(reason);
      await expect((await runtime()).present([REFERENCE], abort.signal)).rejects.toBe(reason);
    });
  });

  it('may be killed before and after it has answered', async () => {
    const engine = { path: socketPath, apiVersion: '1.41', isPodman: false };
    const early = startSocketLoad(engine, NEVER);
    early.kill();
    expect(await early.ended).toMatchObject({ exitCode: 1, stdout: '' });
    const late = startSocketLoad(engine, NEVER);
    late.stdin.end(archive.bytes);
    expect(await late.ended).toMatchObject({ exitCode: 0, stdout: `Loaded image: ${REFERENCE}\n`, stderr: '' });
    late.kill();
    expect(await startSocketLoad(engine, AbortSignal.abort()).ended).toMatchObject({ exitCode: 1 });
  });
});

describe('engineSocketPath', () => {
  it.each([
    ['unix://relative.sock', ''],
    ['tcp://192.0.2.1:2376', ''],
    ['ssh://someone@example.com', ''],
    ['npipe:////./pipe/docker_engine', ''],
    ['', ''],
    ['unix:///no/such/docker.sock', undefined],
  ])('makes of the endpoint "%s" "%s"', async (endpoint, path) => {
    const cli = new ContainerCli({ command: await command(`echo '${endpoint}'`) });
    expect(await engineSocketPath(cli, NEVER)).toBe(path);
  });

  it('does not know it where the CLI has no contexts', async () => {
    const cli = new ContainerCli({ command: await command('echo unix:///x; exit 1') });
    expect(await engineSocketPath(cli, NEVER)).toBeUndefined();
  });
});
