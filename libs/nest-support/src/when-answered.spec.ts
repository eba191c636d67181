import { once } from 'node:events';
import { connect } from 'node:net';

import Fastify, { type FastifyInstance } from 'fastify';

import { whenAnswered } from './when-answered.js';

describe('whenAnswered', () => {
  let fastify: FastifyInstance;
  let seen: string[];
  let told: (() => void) | undefined;

  beforeEach(() => {
    fastify = Fastify();
    seen = [];
    for (const name of ['one', 'two'])
      whenAnswered(fastify, (request, reply) => {
        seen.push(`${name} ${request.url} ${reply.statusCode}`);
        told?.();
      });
    fastify.get('/quick', () => 'done');
    fastify.get('/endless', (_request, reply) => {
      reply.raw.writeHead(200, { 'content-length': '100' });
      reply.raw.write('only a part');
      reply.hijack();
    });
  });
  afterEach(() => fastify.close());

  it('tells everybody once of an answer that was sent, and of an address that is not there', async () => {
    const url = await fastify.listen({ host: '127.0.0.1', port: 0 });
    for (const path of ['/quick', '/nowhere']) await (await fetch(`${url}${path}`)).text();
    expect(seen.toSorted()).toEqual(['one /nowhere 404', 'one /quick 200', 'two /nowhere 404', 'two /quick 200']);
  });

  it('tells of a request whose client went away before the answer ended', async () => {
    const url = new URL(await fastify.listen({ host: '127.0.0.1', port: 0 }));
    const both = new Promise<void>((resolve) => (told = () => seen.length === 2 && resolve()));
    const socket = connect(Number(url.port), url.hostname);
    socket.write('GET /endless HTTP/1.1\r\nhost: localhost\r\n\r\n');
    await once(socket, 'data');
    socket.destroy();
    await both;
    expect(seen.map((line) => line.split(' ')[1])).toEqual(['/endless', '/endless']);
  });
});
