import { once } from 'node:events';
import { lstat, writeFile } from 'node:fs/promises';
import { type IncomingMessage, request as httpRequest } from 'node:http';
import { createServer as createNetServer, connect } from 'node:net';
import { join } from 'node:path';

import { type Caller, TokenVerifier } from '@azaion/identity';
import { startProcess, type TempDirectory, tempDirectory } from '@azaion/testing';
import { Controller, Get, Module, Req } from '@nestjs/common';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import type { FastifyRequest } from 'fastify';

import { cameOverUnixSocket, createApp, outgoingTraceHeaders, Public } from './index.js';

@Controller()
@Public()
class Echo {
  @Get('where')
  where(@Req() request: FastifyRequest): object {
    return { local: cameOverUnixSocket(request) };
  }

  @Get('trace')
  trace(): object {
    return outgoingTraceHeaders();
  }
}

class NobodyVerifier extends TokenVerifier {
  override keyFor(): Promise<never> {
    return Promise.reject(new Error('unused'));
  }
  override verify(): Promise<Caller> {
    return Promise.reject(new Error('unused'));
  }
}

@Module({ controllers: [Echo], providers: [{ provide: TokenVerifier, useClass: NobodyVerifier }] })
class EchoModule {}

async function start(path: string | undefined, mode = 0o660): Promise<NestFastifyApplication> {
  const app = await createApp(EchoModule, {
    api: { title: 'Echo', description: '', version: '1' },
    validationStatus: 400,
    allowedHosts: [],
    ...(path === undefined ? {} : { unixSocket: { path, mode } }),
    log: { level: 'silent' },
  });
  await app.listen(0, '127.0.0.1');
  return app;
}

async function get(socketPath: string, path: string, headers: Record<string, string> = {}): Promise<unknown> {
  const request = httpRequest({ socketPath, path, headers, agent: false });
  request.end();
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  const parts: Buffer[] = [];
  for await (const part of response as AsyncIterable<Buffer>) parts.push(part);
  return JSON.parse(Buffer.concat(parts).toString('utf8'));
}

describe('a Unix socket', () => {
  let directory: TempDirectory;
  beforeEach(async () => {
    directory = await tempDirectory();
  });
  afterEach(() => directory.remove());

  it('serves what the port serves, under any name, and tells which of both it was', async () => {
    const path = join(directory.path, 'loader.sock');
    const app = await start(path);
    expect(await get(path, '/where', { host: 'any.name.will.do' })).toEqual({ local: true });
    expect(await (await fetch(`${await app.getUrl()}/where`)).json()).toEqual({ local: false });
    await app.close();
  });

  it.each([0o600, 0o660, 0o666])(
    'has the permissions %o from the first moment, and is gone at the end',
    async (mode) => {
      const path = join(directory.path, 'loader.sock');
      const app = await start(path, mode);
      expect((await lstat(path)).mode & 0o777).toBe(mode);
      await app.close();
      await expect(lstat(path)).rejects.toThrow('ENOENT');
    },
  );

  it('takes the place of one that a killed process left behind', async () => {
    const path = join(directory.path, 'loader.sock');
    const killed = await startProcess({
      command: process.execPath,
      args: ['-e', `require('net').createServer().listen(${JSON.stringify(path)}, () => console.log('up'))`],
      ready: /up/,
    });
    killed.kill('SIGKILL');
    await killed.ended;
    expect((await lstat(path)).isSocket()).toBe(true);
    const app = await start(path);
    expect(await get(path, '/where')).toEqual({ local: true });
    await app.close();
  });

  it('leaves a socket alone that another process listens on', async () => {
    const path = join(directory.path, 'loader.sock');
    const other = createNetServer().listen(path);
    await once(other, 'listening');
    await expect(start(path)).rejects.toThrow('Another process listens on the socket');
    const connection = connect(path);
    await once(connection, 'connect');
    connection.destroy();
    other.close();
  });

  it('leaves a file alone that is no socket', async () => {
    const path = join(directory.path, 'loader.sock');
    await writeFile(path, 'precious');
    await expect(start(path)).rejects.toThrow('something else has that name');
    expect((await lstat(path)).size).toBe(8);
  });

  it('says why it cannot be made', async () => {
    await expect(start('/no/such/directory/loader.sock')).rejects.toThrow('check that its directory exists');
  });
});

describe('calls that a request causes', () => {
  let app: NestFastifyApplication;
  const traced = async (headers: Record<string, string>): Promise<Record<string, string>> =>
    (await (await fetch(`${await app.getUrl()}/trace`, { headers })).json()) as Record<string, string>;
  const TRACE = '0af7651916cd43dd8448eb211c80319c';

  beforeAll(async () => {
    app = await start(undefined);
  });
  afterAll(() => app.close());

  it('carry its id, and its trace with a span of their own', async () => {
    const sent = { 'x-request-id': 'request-0001', traceparent: `00-${TRACE}-b7ad6b7169203331-01`, tracestate: 'a=1' };
    const first = await traced(sent);
    expect(first).toEqual({
      'x-request-id': 'request-0001',
      traceparent: expect.stringMatching(new RegExp(`^00-${TRACE}-[0-9a-f]{16}-01$`)) as string,
      tracestate: 'a=1',
    });
    expect(first['traceparent']).not.toContain('b7ad6b7169203331');
  });

  it.each([
    'nonsense',
    `01-${TRACE}-b7ad6b7169203331-01`,
    `00-${'0'.repeat(32)}-b7ad6b7169203331-01`,
    `00-${TRACE}-${'0'.repeat(16)}-01`,
    `00-${TRACE.toUpperCase()}-b7ad6b7169203331-01`,
  ])('start a new trace instead of %s', async (traceparent) => {
    const { traceparent: started, tracestate } = await traced({ traceparent, tracestate: 'a=1' });
    expect(started).toMatch(/^00-(?!0{32})[0-9a-f]{32}-[0-9a-f]{16}-00$/);
    expect(started).not.toContain(TRACE);
    expect(tracestate).toBeUndefined();
  });

  it('are told apart when requests come at once', async () => {
    const ids = Array.from({ length: 20 }, (_, index) => `request-${String(index).padStart(4, '0')}`);
    const answers = await Promise.all(ids.map((id) => traced({ 'x-request-id': id })));
    expect(answers.map((answer) => answer['x-request-id'])).toEqual(ids);
  });

  it('have no trace outside of a request', () => expect(outgoingTraceHeaders()).toEqual({}));
});
