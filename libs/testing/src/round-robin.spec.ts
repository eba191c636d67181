import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

import { freePort } from './free-port.js';
import { type RoundRobin, startRoundRobin } from './round-robin.js';

describe('startRoundRobin', () => {
  const servers: Server[] = [];
  let balancer: RoundRobin | undefined;
  afterEach(async () => {
    await balancer?.stop();
    for (const server of servers.splice(0)) {
      server.closeAllConnections();
      server.close();
    }
  });

  async function serve(listener: RequestListener): Promise<string> {
    const server = createServer(listener).listen(0, '127.0.0.1');
    servers.push(server);
    await once(server, 'listening');
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }
  const named = (name: string): RequestListener => {
    return (incoming, outgoing) => {
      incoming.resume();
      outgoing.writeHead(201, { 'x-name': name }).end(name);
    };
  };
  const cutting: RequestListener = (incoming) => incoming.socket.destroy();

  it('asks one server after the other, and hands the answer on as it is', async () => {
    balancer = await startRoundRobin([await serve(named('a')), await serve(named('b'))]);
    const answers: string[] = [];
    for (let requests = 0; requests < 4; requests += 1) {
      const answer = await fetch(`${balancer.url}/path?query`, { method: 'POST', body: 'content' });
      expect(answer.status).toBe(201);
      answers.push(await answer.text());
    }
    expect(answers.toSorted()).toEqual(['a', 'a', 'b', 'b']);
    expect(balancer.passed).toEqual([2, 2]);
  });

  it('passes over a server that is not there, whatever the method', async () => {
    const gone = `http://127.0.0.1:${await freePort()}`;
    balancer = await startRoundRobin([gone, await serve(named('here'))]);
    for (const method of ['GET', 'POST', 'GET', 'POST'])
      expect(await (await fetch(balancer.url, { method })).text()).toBe('here');
  });

  it('passes over it for each of many requests at once', async () => {
    const gone = `http://127.0.0.1:${await freePort()}`;
    balancer = await startRoundRobin([gone, await serve(named('here'))]);
    const { url } = balancer;
    const answers = await Promise.all(Array.from({ length: 32 }, () => fetch(url, { method: 'POST' })));
    expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 32 }, () => 201));
  });

  it('repeats a GET that was left unanswered, and nothing that may have been done', async () => {
    balancer = await startRoundRobin([await serve(cutting), await serve(named('here'))]);
    const statuses = async (method: string): Promise<number[]> => {
      const answers = [await fetch(balancer!.url, { method }), await fetch(balancer!.url, { method })];
      return answers.map(({ status }) => status).toSorted();
    };
    expect(await statuses('GET')).toEqual([201, 201]);
    expect(await statuses('POST')).toEqual([201, 502]);
  });

  it('asks another server where one is not ready', async () => {
    const starting: RequestListener = (_, outgoing) => outgoing.writeHead(503).end();
    balancer = await startRoundRobin([await serve(starting), await serve(named('here'))]);
    for (let requests = 0; requests < 3; requests += 1) expect((await fetch(balancer.url)).status).toBe(201);
    await balancer.stop();
    balancer = await startRoundRobin([await serve(starting), await serve(starting)]);
    expect((await fetch(balancer.url)).status).toBe(503);
  });

  it('cuts an answer that its server has cut', async () => {
    const half: RequestListener = (_, outgoing) => {
      outgoing.writeHead(200, { 'content-length': '100' });
      outgoing.write('half', () => outgoing.destroy());
    };
    balancer = await startRoundRobin([await serve(half)]);
    const answer = await fetch(balancer.url);
    await expect(answer.text()).rejects.toThrow();
  });
});
