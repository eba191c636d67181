import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

import { fixedToken } from './access-tokens.js';
import { ApiClient } from './api-client.js';
import { HttpKeySource } from './http-key-source.js';

const NEVER = new AbortController().signal;

describe('HttpKeySource', () => {
  let server: Server;
  let client: ApiClient;
  let answer: { readonly status: number; readonly body: Buffer };
  let asked: IncomingMessage[];
  beforeEach(async () => {
    asked = [];
    server = createServer((request, response) => {
      asked.push(request);
      response.writeHead(answer.status).end(answer.body);
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    client = new ApiClient({ baseUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}` });
  });
  afterEach(async () => {
    await client.close();
    server.close();
  });

  const keys = (): HttpKeySource => new HttpKeySource(client, fixedToken('token'), fixedToken('device token'));

  it('asks for the archive by its name, as the caller and with the proof of the device', async () => {
    answer = { status: 200, body: randomBytes(48) };
    const fragment = await keys().fragment('images', NEVER);
    expect(Buffer.from(fragment.reveal()).equals(answer.body)).toBe(true);
    expect(asked.map(({ method, url }) => [method, url])).toEqual([
      ['GET', '/binary-split/key-fragment?archive=images'],
    ]);
    expect(asked[0]!.headers).toMatchObject({ authorization: 'Bearer token', 'azaion-device': 'device token' });
  });

  it.each([1, 64 * 1024])('takes a fragment of %i bytes', async (sizeBytes) => {
    answer = { status: 200, body: randomBytes(sizeBytes) };
    expect((await keys().fragment('images', NEVER)).reveal()).toHaveLength(sizeBytes);
  });

  it.each([
    [401, Buffer.alloc(0), 'unlock.credentials-rejected'],
    [403, Buffer.alloc(0), 'unlock.forbidden'],
    [404, Buffer.alloc(0), 'unlock.key-not-found'],
    [200, Buffer.alloc(0), 'unlock.key-not-found'],
    [200, randomBytes(64 * 1024 + 1), 'api.unexpected'],
    [500, Buffer.alloc(0), 'api.unexpected'],
    [503, Buffer.alloc(0), 'api.unreachable'],
  ])('puts the answer %i into words', async (status, body, code) => {
    answer = { status, body };
    await expect(keys().fragment('images', NEVER)).rejects.toMatchObject({ code });
  });

  it('stops with the reason of an abort', async () => {
    answer = { status: 200, body: randomBytes(48) };
    await expect(keys().fragment('images', AbortSignal.abort(new Error('enough')))).rejects.toThrow('enough');
  });
});
