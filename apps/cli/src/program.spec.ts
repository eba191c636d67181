import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';

import { type TempDirectory, tempDirectory } from '@azaion/testing';

import { ProfileFile } from './profile.js';
import { runCommandLine } from './program.js';

const PASSWORD = 'correct horse battery';

describe('runCommandLine', () => {
  let directory: TempDirectory;
  let server: Server;
  let url: string;
  let handler: (request: IncomingMessage, response: ServerResponse) => void;
  let profile: string;
  let stdout: string;
  let stderr: string;

  beforeEach(async () => {
    directory = await tempDirectory();
    profile = join(directory.path, 'profile.json');
    server = createServer((request, response) => handler(request, response)).listen(0, '127.0.0.1');
    await once(server, 'listening');
    url = `http://127.0.0.1:${String((server.address() as AddressInfo).port)}`;
    stdout = '';
    stderr = '';
  });
  afterEach(async () => {
    server.closeAllConnections();
    server.close();
    await directory.remove();
  });

  function run(args: string[], env: NodeJS.ProcessEnv = {}, signal = new AbortController().signal): Promise<number> {
    return runCommandLine(args, {
      stdout: { write: (text: string) => (stdout += text) },
      stderr: { write: (text: string) => (stderr += text) },
      stdin: new PassThrough().end(),
      env: { AZAION_PROFILE: profile, ...env },
      version: '1.2.3',
      signal,
    });
  }

  function answer(status: number, body: object, headers: Record<string, string> = {}): void {
    handler = (_request, response) => {
      response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body));
    };
  }

  it.each([
    [['--version'], 0, '1.2.3'],
    [['--help'], 0, 'Exit status:'],
    [['fetch', '--help'], 0, '--force'],
    [[], 2, ''],
    [['nonsense'], 2, ''],
    [['fetch'], 2, ''],
    [['fetch', 'models/x', '--nonsense'], 2, ''],
    [['publish', 'x', '--kind', 'nonsense'], 2, ''],
    [['login', '--password', PASSWORD], 2, ''],
  ])('ends %j with status %i', async (args, status, said) => {
    expect(await run(args)).toBe(status);
    expect(stdout).toContain(said);
  });

  it.each([[[]], [['device']], [['keys', 'root']]])('says as JSON that no command was given: %j', async (words) => {
    expect(await run([...words, '--json'])).toBe(2);
    expect(JSON.parse(stdout)).toEqual({
      ok: false,
      error: {
        code: 'cli.usage',
        message: 'No command was given.',
        meaning: 'The command was not started; nothing was changed.',
        next: 'Run it with --help to see which there are.',
        exitStatus: 2,
      },
    });
    expect(stderr).toBe('');
  });

  it.each([
    [[], 'Publishes, fetches and unlocks'],
    [['device'], 'Provision devices'],
  ])('shows people the commands when they name none: %j', async (words, said) => {
    expect(await run(words)).toBe(2);
    expect(stderr).toContain(said);
  });

  it('takes --json between a family and its command too', async () => {
    expect(await run(['device', '--json', 'list', '--api', url])).toBe(3);
    expect(JSON.parse(stdout)).toMatchObject({ ok: false, error: { code: 'cli.not-logged-in' } });
  });

  it('says what holds for every command in the help of the whole, not of each', async () => {
    expect(await run(['fetch', '--help'])).toBe(0);
    expect(stdout).not.toContain('Exit status:');
  });

  it.each([
    ['api', 200, { modelCacheDir: '/x' }, '--loader'],
    ['loader', 404, { code: 'route.not-found' }, '--api'],
  ])('sends no password to the wrong kind of service: --%s', async (kind, status, body, instead) => {
    const seen: string[] = [];
    handler = (request, response) => {
      seen.push(`${request.method ?? ''} ${request.url ?? ''}`);
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    };
    expect(await run(['login', `--${kind}`, url, '--email', 'a@b.example'], { AZAION_PASSWORD: PASSWORD })).toBe(2);
    expect(seen).toEqual(['GET /status']);
    expect(stderr).toContain(`${instead} ${url}`);
  });

  it('says how long to wait when there were too many logins', async () => {
    answer(429, { code: 'login.rate-limited' }, { 'retry-after': '42' });
    const args = ['login', '--api', url, '--email', 'a@b.example'];
    expect(await run(args, { AZAION_PASSWORD: PASSWORD })).toBe(8);
    expect(stderr).toContain('Wait 42 seconds and try again.');
  });

  it('tells the request id of a fault of the service, at a Loader and at the Admin API', async () => {
    answer(500, { code: 'server.error', detail: 'Something went wrong here.', requestId: 'request-0042' });
    expect(await run(['status', '--loader', url])).toBe(1);
    expect(stderr).toContain('request-0042');
    stderr = '';
    await run(['login', '--api', url, '--email', 'a@b.example'], { AZAION_PASSWORD: PASSWORD });
    expect(stderr).toContain('request-0042');
  });

  describe('shows the status of a Loader', () => {
    const loader = {
      status: 'healthy',
      version: '1.0.0',
      offline: true,
      authenticated: false,
      binding: 'tpm',
      modelCacheDir: '/data/packs',
      cache: { bytes: 1_500_000, limitBytes: 50_000_000_000 },
    };
    const unlock = { state: 'idle', error: null, detail: null, progress: null, images: [] };
    const up = { status: 'ok', info: { 'admin-api': { status: 'up' } }, error: {} };
    const message = 'The Admin API does not answer.';
    const down = {
      status: 'error',
      info: { 'data-directory': { status: 'up' } },
      error: { 'admin-api': { status: 'down', message } },
    };
    const serve = (ready: object, readyStatus: number, type = 'application/json'): void => {
      handler = (request, response) => {
        if (request.url !== '/health/ready') response.end(JSON.stringify(request.url === '/status' ? loader : unlock));
        else response.writeHead(readyStatus, { 'content-type': type }).end(JSON.stringify(ready));
      };
    };

    it('in words', async () => {
      serve(up, 200);
      expect(await run(['status', '--loader', url])).toBe(0);
      expect(stdout).toContain('state        ready\n');
      expect(stdout).toContain('Admin API    out of reach');
      expect(stdout).toMatch(/cache {8}1\.\S+ \S+ of \S+ \S+ in \/data\/packs/);
      expect(stdout).not.toContain('{');
    });

    it('that is not ready, with what is down and why', async () => {
      serve(down, 503);
      expect(await run(['status', '--loader', url])).toBe(0);
      expect(stdout).toContain(`state        not ready\n               admin-api: ${message}\n`);
      expect(stdout).not.toContain('healthy');
      stdout = '';
      expect(await run(['status', '--loader', url, '--json'])).toBe(0);
      expect(JSON.parse(stdout)).toMatchObject({
        ready: false,
        down: [{ check: 'admin-api', reason: message }],
        loader,
      });
    });

    it('and fails where it is going down', async () => {
      serve({ code: 'server.unavailable', detail: 'It is shutting down.' }, 503, 'application/problem+json');
      expect(await run(['status', '--loader', url])).toBe(5);
      expect(stderr).toContain('It is shutting down. [server.unavailable]');
    });

    it('and fails where the answer is not that of a Loader', async () => {
      serve({ hello: 'world' }, 200);
      expect(await run(['status', '--loader', url])).toBe(1);
    });
  });

  it('takes "fetch models/x@2" for a version of the resource', async () => {
    expect(await run(['fetch', 'models/x@2', '--api', url])).toBe(3);
    expect(stderr).toContain('cli.not-logged-in');
  });

  it.each([
    [['nonsense'], 2],
    [['--json', 'fetch', 'nonsense'], 2],
    [['fetch', 'nonsense'], 2],
    [['status', '--loader', 'http://127.0.0.1:9'], 5],
    [['fetch', 'models/x', '--api', 'https://127.0.0.1:9'], 3],
  ])('prints one JSON object and nothing else for %j with --json', async (args, status) => {
    expect(await run([...args, '--json'])).toBe(status);
    expect(stderr).toBe('');
    expect(JSON.parse(stdout)).toMatchObject({ ok: false, error: { exitStatus: status } });
    expect(stdout.trimEnd()).not.toContain('\n');
  });

  it('logs in with the password of the environment, keeps the tokens privately and not the password', async () => {
    let received = '';
    handler = (request, response) => {
      request.setEncoding('utf8').on('data', (part: string) => (received += part));
      request.on('end', () => {
        const tokens = { access_token: 'a.b.c', token_type: 'Bearer', expires_in: 900, refresh_token: 'r' };
        response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(tokens));
      });
    };
    const args = ['login', '--api', url, '--email', 'a@b.example'];
    expect(await run(args, { AZAION_PASSWORD: PASSWORD })).toBe(0);
    expect(JSON.parse(received)).toEqual({ email: 'a@b.example', password: PASSWORD });
    expect((await stat(profile)).mode & 0o777).toBe(0o600);
    const kept = await new ProfileFile(profile).read();
    expect(kept).toMatchObject({ api: url, sessions: [{ issuedBy: { kind: 'api', url }, refreshToken: 'r' }] });
    expect(JSON.stringify(kept) + stdout + stderr).not.toContain(PASSWORD);
  });

  it('does not send the password over plain HTTP to another machine', async () => {
    const args = ['login', '--api', 'http://api.example', '--email', 'a@b.example'];
    expect(await run(args, { AZAION_PASSWORD: PASSWORD })).toBe(2);
  });

  it.each([
    [401, 3],
    [403, 3],
    [404, 4],
    [409, 8],
    [422, 2],
    [500, 1],
    [502, 5],
    [503, 5],
    [507, 7],
  ])("turns a Loader's %i into the exit status %i", async (status, exit) => {
    answer(
      status,
      { code: 'area.problem', detail: 'A plain sentence.' },
      { 'content-type': 'application/problem+json' },
    );
    expect(await run(['status', '--loader', url])).toBe(exit);
    expect(stderr).toContain('A plain sentence. [area.problem]');
    expect(stderr).toContain('Next: ');
  });

  it('tells damaged content by its code', async () => {
    answer(502, { code: 'resource.integrity', detail: 'x' });
    expect(await run(['status', '--loader', url])).toBe(6);
  });

  it('does not follow a redirect, which would carry the token elsewhere', async () => {
    answer(307, {}, { location: 'https://elsewhere.example' });
    expect(await run(['status', '--loader', url])).toBe(5);
  });

  it('says that it was stopped', async () => {
    const stopping = new AbortController();
    handler = () => stopping.abort();
    expect(await run(['status', '--loader', url], {}, stopping.signal)).toBe(130);
  });

  it('gives a login up that gets no answer', async () => {
    const stopping = new AbortController();
    handler = (request, response) => {
      if (request.url === '/login') stopping.abort();
      else response.writeHead(404, { 'content-type': 'application/json' }).end('{}');
    };
    const args = ['login', '--api', url, '--email', 'a@b.example'];
    expect(await run(args, { AZAION_PASSWORD: PASSWORD }, stopping.signal)).toBe(130);
    expect(stderr).toContain('Stopped. [cli.interrupted]');
  });

  it('says what to do where the profile cannot be written', async () => {
    const file = join(directory.path, 'file');
    await writeFile(file, '');
    answer(200, { access_token: 'a.b.c', token_type: 'Bearer', expires_in: 900 });
    const env = { AZAION_PASSWORD: PASSWORD, AZAION_PROFILE: join(file, 'profile.json') };
    expect(await run(['login', '--loader', url, '--email', 'a@b.example'], env)).toBe(2);
    expect(stderr).toMatch(/cannot be used: .*\[file\.unusable\]/);
    expect(stderr).toContain('AZAION_PROFILE');
  });

  describe('with a session', () => {
    beforeEach(() =>
      new ProfileFile(profile).write({
        sessions: [{ issuedBy: { kind: 'loader', url }, accessToken: 'token', expiresAt: Date.now() / 1000 + 900 }],
      }),
    );

    it('writes nothing when a Loader ends the transfer early', async () => {
      handler = (_request, response) => {
        response.writeHead(200, { 'content-length': '10', 'x-resource-version': '1' });
        response.write('short', () => response.destroy());
      };
      const output = join(directory.path, 'model');
      expect(await run(['fetch', 'models/x', '--loader', url, '-o', output])).toBe(5);
      await expect(stat(output)).rejects.toThrow('ENOENT');
      await expect(stat(`${output}.partial`)).rejects.toThrow('ENOENT');
    });

    it('replaces a file only when it is told to', async () => {
      handler = (_request, response) => response.writeHead(200, { 'x-resource-version': '1' }).end('new');
      const output = join(directory.path, 'model');
      await writeFile(output, 'old');
      expect(await run(['fetch', 'models/x', '--loader', url, '-o', output])).toBe(2);
      expect(stderr).toContain('--force');
      expect(await readFile(output, 'utf8')).toBe('old');
      expect(await run(['fetch', 'models/x', '--loader', url, '-o', output, '--force'])).toBe(0);
      expect(await readFile(output, 'utf8')).toBe('new');
    });

    it('follows an unlock by its events to the end', async () => {
      handler = (request, response) => {
        const state = (name: string): string =>
          `data: {"state":"${name}","error":null,"progress":null,"images":[]}\n\n`;
        if (request.url === '/unlock/events')
          response.writeHead(200, { 'content-type': 'text/event-stream' }).end(state('decrypting') + state('ready'));
        else response.writeHead(200).end('{"state":"authenticating"}');
      };
      expect(await run(['unlock', '--loader', url])).toBe(0);
      expect(stderr).toBe('unlock: authenticating\nunlock: decrypting\nunlock: ready\n');
      expect(stdout).toBe('Ready: 0 images.\n');
    });

    /** A Loader whose unlock fails, and that has no events to follow it by. */
    const unlockFails = (status: object): void => {
      handler = (request, response) => {
        if (request.url === '/unlock/events') response.writeHead(404).end();
        else if (request.method === 'POST') response.writeHead(200).end('{"state":"authenticating"}');
        else response.writeHead(200).end(JSON.stringify({ state: 'error', progress: null, images: [], ...status }));
      };
    };

    it('ends with 9 when the unlock failed, and says why', async () => {
      unlockFails({ error: 'unlock.no-space', detail: 'The disk is full.' });
      expect(await run(['unlock', '--loader', url])).toBe(9);
      expect(stderr).toContain('The unlock failed: unlock.no-space (The disk is full.)');
      expect(stderr).toContain('Next: Free space on the device');
    });

    it('says when the device tries again by itself after services could not be started', async () => {
      const retry = { attempts: 3, notBefore: '2026-11-23T10:00:00.000Z' };
      unlockFails({ error: 'unlock.services-failed', detail: 'Compose failed.', retry });
      expect(await run(['unlock', '--loader', url])).toBe(9);
      expect(stderr).toContain('Tried 3 times; the device tries again by itself after 2026-11-23T10:00:00.000Z.');
    });

    it('tells what an unlock waits for, a stall, and what the engine had already', async () => {
      handler = (request, response) => {
        const event = (state: string, progress: object | null, report: object | null = null): string =>
          `data: ${JSON.stringify({ state, error: null, progress, images: ['a:1'], report })}\n\n`;
        const progress = { bytesDone: 10, bytesTotal: 100, bytesPerSecond: 0, etaSeconds: null };
        if (request.url === '/unlock/events')
          response.writeHead(200, { 'content-type': 'text/event-stream' }).end(
            event('decrypting', { ...progress, phase: 'waiting_for_flight_gate', stalledSeconds: 0 }) +
              event('loading_images', { ...progress, phase: 'loading_images', stalledSeconds: 12 }) +
              event('ready', null, {
                archiveBytes: 600 * 2 ** 20,
                loadedBytes: 50 * 2 ** 20,
                reusedBytes: 550 * 2 ** 20,
                downloadedBytes: 30 * 2 ** 20,
                durationMs: 8000,
              }),
          );
        else response.writeHead(200).end('{"state":"authenticating"}');
      };
      expect(await run(['unlock', '--loader', url])).toBe(0);
      expect(stderr).toContain('unlock: waits: the device is in the air\n');
      expect(stderr).toContain('nothing has moved for 12 s');
      expect(stdout).toContain(
        'Loaded 50.0 MiB of 600.0 MiB; the engine had the other layers, 550.0 MiB, already. 30.0 MiB came over the network, in 8 s.',
      );
    });

    it('stops the run at work', async () => {
      const asked: string[] = [];
      handler = (request, response) => {
        asked.push(`${String(request.method)} ${String(request.url)}`);
        response.writeHead(202).end('{"state":"loading_images"}');
      };
      expect(await run(['unlock', '--loader', url, '--cancel'])).toBe(0);
      expect(asked).toEqual(['POST /unlock/cancel']);
      expect(stdout).toContain('being stopped');
    });
  });
});
