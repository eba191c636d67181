import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

import { type CdnFault, type FaultyCdn, startFaultyCdn } from './faulty-cdn.js';

const CONTENT = Buffer.alloc(100_001, 7);

describe('startFaultyCdn', () => {
  let cdn: FaultyCdn;
  let asked = 0;
  const server = createServer((request, response) => {
    asked += 1;
    request.resume();
    if (request.method === 'PUT') response.writeHead(200, { 'content-length': 0 }).end();
    else response.writeHead(200, { 'content-length': CONTENT.length }).end(CONTENT);
  });
  beforeAll(async () => {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    cdn = await startFaultyCdn();
    cdn.leadTo(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  });
  afterEach(() => cdn.mend());
  afterAll(async () => {
    await cdn.stop();
    server.closeAllConnections();
    server.close();
  });

  const get = async (): Promise<Buffer> => Buffer.from(await (await fetch(cdn.url)).arrayBuffer());

  it('hands answers on as they are, and counts them', async () => {
    const [requests, bytes] = [cdn.requests('GET'), cdn.deliveredBytes];
    expect((await get()).equals(CONTENT)).toBe(true);
    expect([cdn.requests('GET') - requests, cdn.deliveredBytes - bytes]).toEqual([1, CONTENT.length]);
  });

  it('answers with a status in the place of the server, as often as it is told to', async () => {
    const before = asked;
    cdn.failWith(503, 2);
    const statuses = [];
    for (let count = 0; count < 3; count += 1) statuses.push((await fetch(cdn.url)).status);
    expect([statuses, asked - before]).toEqual([[503, 503, 200], 1]);
  });

  it('turns over one bit in the middle', async () => {
    cdn.failWith('corrupt');
    const bytes = await get();
    expect([...bytes.entries()].filter(([, byte]) => byte !== 7)).toEqual([[50_001, 6]]);
  });

  it.each<CdnFault>(['cut', 'reset'])('ends a connection after the first half: %s', async (fault) => {
    cdn.failWith(fault, 1);
    const before = cdn.deliveredBytes;
    await expect(get()).rejects.toThrow('terminated');
    expect(cdn.deliveredBytes - before).toBe(50_001);
  });

  it('stalls after the first half, until the client gives up', async () => {
    cdn.failWith('stall', 1);
    const giveUp = new AbortController();
    const { body } = await fetch(cdn.url, { signal: giveUp.signal });
    let receivedBytes = 0;
    const reading = (async () => {
      for await (const part of body as AsyncIterable<Uint8Array>)
        if ((receivedBytes += part.length) === 50_001) giveUp.abort();
    })();
    await expect(reading).rejects.toThrow('aborted');
    expect(receivedBytes).toBe(50_001);
  });

  it('loses an answer that has no body', async () => {
    cdn.failWith('reset', 1);
    await expect(fetch(cdn.url, { method: 'PUT', body: 'x' })).rejects.toThrow('fetch failed');
    expect((await fetch(cdn.url, { method: 'PUT', body: 'x' })).status).toBe(200);
  });
});
