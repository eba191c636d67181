import { once } from 'node:events';
import { lstat, readdir, readFile } from 'node:fs/promises';
import { type IncomingMessage, request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

import { type TempDirectory, tempDirectory } from '@azaion/testing';

import { type StartedSystem, startSystem } from './started-system.js';

const SCRAPE_TOKEN = 'scrape-token-of-this-suite';

describe('a Loader as a process', () => {
  let directory: TempDirectory;
  let system: StartedSystem;
  let socketPath: string;

  beforeAll(async () => {
    directory = await tempDirectory('azaion-loader');
    socketPath = join(directory.path, 'loader.sock');
    system = await startSystem({
      loaderEnv: {
        LOADER_SOCKET: socketPath,
        LOADER_LOCAL_TRUST: 'session',
        LOADER_LOG_DIR: join(directory.path, 'logs'),
        METRICS_TOKEN: SCRAPE_TOKEN,
      },
    });
  });
  afterAll(async () => {
    await system.stop();
    await directory.remove();
  });

  async function overSocket(path: string, body: object): Promise<{ readonly status: number; readonly bytes: Buffer }> {
    const headers = { 'content-type': 'application/json' };
    const request = httpRequest({ socketPath, path, method: 'POST', headers, agent: false });
    request.end(JSON.stringify(body));
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    const parts: Buffer[] = [];
    for await (const part of response as AsyncIterable<Buffer>) parts.push(part);
    return { status: response.statusCode ?? 0, bytes: Buffer.concat(parts) };
  }

  it('serves an older service over the Unix socket with the rights of the device', async () => {
    const publisher = await system.login(await system.createPerson('ResourceUploader'));
    const content = Buffer.from('weights');
    await system.requests.publish('a.bin', content, publisher);
    const loaded = await overSocket('/load/a.bin', { filename: 'a.bin', folder: 'models' });
    expect(loaded).toEqual({ status: 200, bytes: content });
  });

  it('passes its request id and trace on to the Admin API', async () => {
    const id = 'e2e-request-0001';
    const trace = '4bf92f3577b34da6a3ce929d0e0e4736';
    await fetch(`${system.loaderUrl}/load/missing.bin`, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        'x-request-id': id,
        traceparent: `00-${trace}-00f067aa0ba902b7-01`,
      },
      body: JSON.stringify({ filename: 'missing.bin', folder: 'models' }),
    });
    // What a process prints arrives after its answer, maybe.
    while (!system.adminOutput().includes(id)) await delay(20);
    const lines = system
      .adminOutput()
      .split('\n')
      .filter((line) => line.includes(id));
    expect(lines.map((line) => JSON.parse(line) as object)).toEqual([
      expect.objectContaining({ requestId: id, traceId: trace, status: 404 }),
    ]);
  });

  it('counts what it did for a scraper', async () => {
    const scrape = (token: string): Promise<Response> =>
      fetch(`${system.loaderUrl}/metrics`, { headers: { authorization: `Bearer ${token}` } });
    const text = await (await scrape(SCRAPE_TOKEN)).text();
    expect(text).toContain('azaion_grants_total{outcome="granted"}');
    expect(text).toContain('process_resident_memory_bytes');
    expect(text).toContain('azaion_unlock_state{state="idle"} 1');
    expect((await scrape(`${SCRAPE_TOKEN}x`)).status).toBe(401);
  });

  it('writes its log into the directory too', async () => {
    const [file = ''] = await readdir(join(directory.path, 'logs'));
    const text = await readFile(join(directory.path, 'logs', file), 'utf8');
    const lines = text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(lines.find(({ path }) => path === '/load/missing.bin')).toMatchObject({
      level: 30,
      time: expect.any(Number) as number,
      requestId: 'e2e-request-0001',
      traceId: '4bf92f3577b34da6a3ce929d0e0e4736',
      method: 'POST',
      status: 404,
      code: 'resource.not-found',
      durationMs: expect.any(Number) as number,
      msg: 'request answered',
    });
  });

  it('ends by itself within its ten seconds, whatever clients do, and leaves no socket', async () => {
    const { hostname, port } = new URL(system.loaderUrl);
    // One that never sends its body, one that watches events, one that is idle.
    const stuck = connect(Number(port), hostname).on('error', () => undefined);
    stuck.write(
      'POST /login HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{',
    );
    const events = await fetch(`${system.loaderUrl}/unlock/events`);
    const idle = connect(socketPath).on('error', () => undefined);
    await once(idle, 'connect');
    const running = system.loader();
    // Ten seconds after SIGTERM it would be killed, and end by that signal.
    expect((await running.stop()).signal).not.toBe('SIGKILL');
    await expect(lstat(socketPath)).rejects.toThrow('ENOENT');
    for (const socket of [stuck, idle]) socket.destroy();
    await events.body?.cancel().catch(() => undefined);
  });

  it('comes back on the socket that a killed one left behind', async () => {
    await system.restartLoader();
    system.loader().kill('SIGKILL');
    await system.loader().ended;
    expect((await lstat(socketPath)).isSocket()).toBe(true);
    await system.restartLoader();
    expect((await overSocket('/load/a.bin', { filename: 'a.bin', folder: 'models' })).status).toBe(200);
  });
});
