import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import {
  createServer,
  type IncomingMessage,
  request as httpRequest,
  type RequestListener,
  type Server,
  type ServerResponse,
} from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';

import { type PackLocation, ResourceError } from '@azaion/split-resource';
import { describePackSink, describePackSource } from '@azaion/split-resource/testing';

import { HttpPackSink, HttpPackSource } from './index.js';

const servers: Server[] = [];

async function serve(listener: RequestListener): Promise<string> {
  const server = createServer(listener);
  servers.push(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

afterAll(async () => {
  for (const server of servers) {
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  }
});

async function bodyOf(message: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of message) parts.push(part as Buffer);
  return Buffer.concat(parts);
}

/** A small object server: ranged GETs, PUTs that never overwrite, a signature in the query. */
function objectServer(objects: Map<string, Buffer>, honoursRange: boolean): RequestListener {
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const url = new URL(request.url ?? '/', 'http://localhost');
    const body = await bodyOf(request);
    if (url.searchParams.get('signature') !== 'good') return void response.writeHead(403).end();
    const object = objects.get(url.pathname);
    if (request.method === 'PUT') {
      if (object) return void response.writeHead(412).end();
      const right =
        request.headers['x-signed'] === 'verbatim' && Number(request.headers['content-length']) === body.length;
      if (!right) return void response.writeHead(400).end();
      objects.set(url.pathname, body);
      return void response.writeHead(200).end();
    }
    if (!object) return void response.writeHead(404).end();
    const [start = NaN, last = NaN] = (request.headers.range ?? '').replace('bytes=', '').split('-').map(Number);
    if (!honoursRange) return void response.writeHead(200, { 'content-length': object.length }).end(object);
    if (start >= object.length)
      return void response.writeHead(416, { 'content-range': `bytes */${object.length}` }).end();
    const end = Math.min(last, object.length - 1);
    response
      .writeHead(206, { 'content-range': `bytes ${start}-${end}/${object.length}` })
      .end(object.subarray(start, end + 1));
  };
  return (request, response) => void answer(request, response);
}

describe.each([true, false])('against a server that honours Range: %s', (honoursRange) => {
  describePackSource('HttpPackSource', async () => {
    const objects = new Map<string, Buffer>();
    const origin = await serve(objectServer(objects, honoursRange));
    const source = new HttpPackSource();
    return {
      source,
      locate: (folderId, pack, bytes) => {
        const path = `/packs/${folderId}/${pack.packId}`;
        if (bytes) objects.set(path, bytes);
        return Promise.resolve({ folderId, pack, url: `${origin}${path}?signature=good` });
      },
      // An answer with another status than 206 and 416 states nothing.
      ...(!honoursRange && { cutShort: 'pack.unavailable' }),
      close: () => source.close(),
    };
  });
});

describePackSink('HttpPackSink', async () => {
  const objects = new Map<string, Buffer>();
  const origin = await serve(objectServer(objects, true));
  const sink = new HttpPackSink();
  return {
    sink,
    target: () =>
      Promise.resolve({ url: `${origin}/${randomUUID()}?signature=good`, headers: { 'X-Signed': 'verbatim' } }),
    written: ({ url }) => Promise.resolve(objects.get(new URL(url).pathname)),
    refused: () => Promise.resolve({ url: `${origin}/${randomUUID()}?signature=bad`, headers: {} }),
    close: () => sink.close(),
  };
});

describe('HttpPackSource', () => {
  const bytes = randomBytes(100_000);
  const range = { start: 10_000, end: 60_000 };
  let source: HttpPackSource;

  beforeEach(() => {
    source = new HttpPackSource();
  });
  afterEach(() => source.close());

  function at(url: string | undefined): PackLocation {
    return {
      folderId: randomUUID(),
      pack: { packId: 'ab'.repeat(16), sizeBytes: bytes.length, sha256: Buffer.alloc(32) },
      url,
    };
  }

  async function failureOf(url: string | undefined, deadlineMs = 5000): Promise<ResourceError> {
    try {
      const stream = await source.open(at(url), range, deadlineMs);
      let receivedBytes = 0;
      for await (const part of stream) receivedBytes += (part as Buffer).length;
      throw new Error(`received ${receivedBytes} bytes`);
    } catch (error) {
      if (error instanceof ResourceError) return error;
      throw error;
    }
  }

  const sending = (status: number, headers: Record<string, string>, body: Buffer): RequestListener => {
    return (_, response) => response.writeHead(status, headers).end(body);
  };
  const right = { 'content-range': 'bytes 10000-59999/100000' };

  it.each<[string, number, Record<string, string>, string]>([
    ['403', 403, {}, 'pack.forbidden'],
    ['401', 401, {}, 'pack.forbidden'],
    ['404', 404, {}, 'pack.not-found'],
    ['416 to every range, the first byte too, without a size', 416, {}, 'pack.truncated'],
    ['416 of an object that ends before the range', 416, { 'content-range': 'bytes */10000' }, 'pack.truncated'],
    ['416 of an object that ends within the range', 416, { 'content-range': 'bytes */59999' }, 'pack.truncated'],
    ['416 of an object without a byte', 416, { 'content-range': 'bytes */0' }, 'pack.truncated'],
    ['416 of an object that has the range', 416, { 'content-range': 'bytes */60000' }, 'pack.unavailable'],
    [
      '206 of an object that ends within the range',
      206,
      { 'content-range': 'bytes 10000-49999/50000' },
      'pack.truncated',
    ],
    [
      '206 that ends early, of an object that does not',
      206,
      { 'content-range': 'bytes 10000-49999/100000' },
      'pack.unavailable',
    ],
    [
      '206 that ends early, of an object of unknown size',
      206,
      { 'content-range': 'bytes 10000-49999/*' },
      'pack.unavailable',
    ],
    [
      'a compressed body, of which it states the size',
      206,
      { 'content-range': 'bytes 10000-49999/50000', 'content-encoding': 'gzip' },
      'pack.unavailable',
    ],
    ['a page of something in between', 200, { 'content-length': '50000' }, 'pack.unavailable'],
    ['an error that states a size', 500, { 'content-range': 'bytes */50000' }, 'pack.unavailable'],
    ['500', 500, {}, 'pack.unavailable'],
    ['204', 204, {}, 'pack.unavailable'],
    ['206 without a Content-Range', 206, {}, 'pack.unavailable'],
    ['206 of another range', 206, { 'content-range': 'bytes 0-49999/100000' }, 'pack.unavailable'],
    ['206 that ends elsewhere', 206, { 'content-range': 'bytes 10000-60000/100000' }, 'pack.unavailable'],
    ['a compressed body', 206, { ...right, 'content-encoding': 'gzip' }, 'pack.unavailable'],
  ])('answers %s with its code', async (_, status, headers, code) => {
    const url = await serve(sending(status, headers, status === 204 ? Buffer.alloc(0) : bytes.subarray(0, 50_000)));
    expect((await failureOf(url)).code).toBe(code);
  });

  it('asks how large an object is where its end is told by a 416 alone', async () => {
    const asked: (string | undefined)[] = [];
    const url = await serve(({ headers: { range: wanted } }, response) => {
      asked.push(wanted);
      if (wanted === 'bytes=0-0') response.writeHead(206, { 'content-range': 'bytes 0-0/5000' }).end('x');
      else response.writeHead(416).end('<Error><Code>InvalidRange</Code></Error>');
    });
    expect((await failureOf(url)).code).toBe('pack.truncated');
    expect(asked).toEqual(['bytes=10000-59999', 'bytes=0-0']);
  });

  it('believes no 416 of an object whose first byte answers without a size', async () => {
    const url = await serve(({ headers: { range: wanted } }, response) => {
      if (wanted === 'bytes=0-0') response.writeHead(200, { 'content-length': 1 }).end('x');
      else response.writeHead(416).end();
    });
    expect((await failureOf(url)).code).toBe('pack.unavailable');
  });

  it('asks for the size within the time that is left for the answer', async () => {
    const givenUp = Promise.withResolvers<undefined>();
    const url = await serve(({ headers: { range: wanted } }, response) => {
      const answer = (): void => void response.writeHead(416).end();
      if (wanted !== 'bytes=0-0') setTimeout(answer, 600);
      else response.once('close', () => givenUp.resolve(undefined)); // nobody answers
    });
    const begin = performance.now();
    expect((await failureOf(url, 800)).code).toBe('pack.unavailable');
    expect(performance.now() - begin).toBeLessThan(1400);
    await givenUp.promise;
  });

  it('takes a range that an object has, whatever size the object is said to have', async () => {
    const url = await serve(
      sending(206, { 'content-range': 'bytes 10000-59999/60000' }, bytes.subarray(10_000, 60_000)),
    );
    const parts: Buffer[] = [];
    for await (const part of await source.open(at(url), range, 5000)) parts.push(part as Buffer);
    expect(Buffer.concat(parts).equals(bytes.subarray(10_000, 60_000))).toBe(true);
  });

  it('follows no redirect', async () => {
    let followed = false;
    const elsewhere = await serve((_, response) => {
      followed = true;
      response.writeHead(206, right).end(bytes.subarray(10_000, 60_000));
    });
    const url = await serve(sending(307, { location: elsewhere }, Buffer.alloc(0)));
    expect((await failureOf(url)).code).toBe('pack.unavailable');
    expect(followed).toBe(false);
  });

  it.each([
    ['seconds', '7', 7],
    ['a date far ahead', 'Fri, 31 Dec 2999 23:59:59 GMT', expect.any(Number)],
    ['a date in the past', 'Sat, 01 Jan 2000 00:00:00 GMT', undefined],
    ['nonsense', 'soon', undefined],
  ])('passes on Retry-After given as %s', async (_, value, seconds) => {
    const url = await serve(sending(503, { 'retry-after': value }, Buffer.alloc(0)));
    expect((await failureOf(url)).details['retryAfterSeconds']).toEqual(seconds);
  });

  it('cuts a body that is longer than the range', async () => {
    const url = await serve(sending(206, right, bytes.subarray(10_000)));
    const parts: Buffer[] = [];
    for await (const part of await source.open(at(url), range, 5000)) parts.push(part as Buffer);
    expect(Buffer.concat(parts).equals(bytes.subarray(10_000, 60_000))).toBe(true);
  });

  it('fails with pack.unavailable when the body ends early', async () => {
    const url = await serve(sending(206, right, bytes.subarray(10_000, 59_999)));
    expect((await failureOf(url)).code).toBe('pack.unavailable');
  });

  it('fails with pack.unavailable when the connection is reset in the middle', async () => {
    const url = await serve((_, response) => {
      response.writeHead(206, { ...right, 'content-length': '50000' });
      response.write(bytes.subarray(0, 1000), () => response.socket?.resetAndDestroy());
    });
    expect((await failureOf(url)).code).toBe('pack.unavailable');
  });

  it('fails with pack.unavailable when nobody listens, or nobody answers in time', async () => {
    expect((await failureOf('http://127.0.0.1:1/x')).code).toBe('pack.unavailable');
    const silent = await serve(() => undefined);
    expect((await failureOf(silent, 50)).code).toBe('pack.unavailable');
  });

  it.each([undefined, '', 'file:///etc/passwd', 'memory:x'])('takes "%s" for no URL', async (url) => {
    expect((await failureOf(url)).code).toBe('pack.forbidden');
  });

  it('stops waiting when it is told to', async () => {
    const stop = new AbortController();
    const asked = Promise.withResolvers<undefined>();
    const silent = await serve(() => asked.resolve(undefined));
    const opening = source.open(at(silent), range, 60_000, stop.signal);
    const refused = expect(opening).rejects.toThrow('enough');
    await asked.promise;
    stop.abort(new Error('enough'));
    await refused;
  });

  it('never shows a URL, whose query is a signature', async () => {
    const url = `${await serve(sending(403, {}, Buffer.alloc(0)))}/x?signature=secret`;
    const error = await failureOf(url);
    expect(JSON.stringify([error.message, error.details])).not.toContain('secret');
  });
});

describe('behind a proxy', () => {
  /** A proxy for plain and for tunnelled requests. */
  async function startProxy(): Promise<{ readonly url: string; readonly passedOn: string[] }> {
    const passedOn: string[] = [];
    const url = await serve((asked, answer) => {
      passedOn.push(asked.url ?? '');
      const { method, headers } = asked;
      const onward = httpRequest(asked.url ?? '', { method, headers }, (response) => {
        answer.writeHead(response.statusCode ?? 502, response.headers);
        response.pipe(answer);
      });
      asked.pipe(onward);
    });
    servers.at(-1)?.on('connect', (asked: IncomingMessage, client: Socket) => {
      passedOn.push(asked.url ?? '');
      const [host = '', port = ''] = (asked.url ?? '').split(':');
      const onward = connect(Number(port), host, () => client.write('HTTP/1.1 200 OK\r\n\r\n'));
      onward.on('error', () => client.destroy()).on('close', () => client.destroy());
      client.on('error', () => onward.destroy()).on('close', () => onward.destroy());
      client.pipe(onward).pipe(client);
    });
    return { url, passedOn };
  }

  it('packs are read and written through it', async () => {
    const objects = new Map([['/pack', randomBytes(1000)]]);
    const origin = await serve(objectServer(objects, true));
    const proxy = await startProxy();
    const source = new HttpPackSource({ proxy: proxy.url });
    const sink = new HttpPackSink({ proxy: proxy.url });
    const pack = { packId: 'ab'.repeat(16), sizeBytes: 1000, sha256: Buffer.alloc(32) };
    const location = { folderId: randomUUID(), pack, url: `${origin}/pack?signature=good` };
    const parts: Buffer[] = [];
    for await (const part of await source.open(location, { start: 10, end: 20 }, 5000)) parts.push(part as Buffer);
    expect(Buffer.concat(parts)).toEqual(objects.get('/pack')?.subarray(10, 20));
    expect(proxy.passedOn).toHaveLength(1);
    const target = { url: `${origin}/written?signature=good`, headers: { 'X-Signed': 'verbatim' } };
    await sink.put(target, [randomBytes(10)], 5000);
    expect(objects.get('/written')).toHaveLength(10);
    expect(proxy.passedOn).toHaveLength(2);
    await Promise.all([source.close(), sink.close()]);
  });
});

describe('HttpPackSink', () => {
  it.each([400, 409, 500, 503, 301])('says pack.unavailable for status %i', async (status) => {
    const url = await serve((request, response) => {
      request.resume().on('end', () => response.writeHead(status, { 'retry-after': '3' }).end('no'));
    });
    const sink = new HttpPackSink();
    await expect(sink.put({ url, headers: {} }, [randomBytes(10)], 5000)).rejects.toMatchObject({
      code: 'pack.unavailable',
      details: { status, retryAfterSeconds: 3 },
    });
    await sink.close();
  });

  it('says pack.unavailable when nobody listens, or nobody answers before the deadline', async () => {
    const sink = new HttpPackSink();
    const silent = await serve(() => undefined);
    for (const url of ['http://127.0.0.1:1/x', silent])
      await expect(sink.put({ url, headers: {} }, [randomBytes(10)], 100)).rejects.toMatchObject({
        code: 'pack.unavailable',
      });
    await sink.close();
  });

  it('sends a signed Content-Length as it is', async () => {
    const lengths: (string | undefined)[] = [];
    const url = await serve((request, response) => {
      lengths.push(request.headers['content-length']);
      request.resume().on('end', () => response.end());
    });
    const sink = new HttpPackSink();
    await sink.put({ url, headers: { 'Content-Length': '10' } }, [randomBytes(10)], 5000);
    expect(lengths).toEqual(['10']);
    await sink.close();
  });

  it('stops when it is told to', async () => {
    const stop = new AbortController();
    const asked = Promise.withResolvers<undefined>();
    const silent = await serve(() => asked.resolve(undefined));
    const sink = new HttpPackSink();
    const refused = expect(
      sink.put({ url: silent, headers: {} }, [randomBytes(10)], 60_000, stop.signal),
    ).rejects.toThrow('enough');
    await asked.promise;
    stop.abort(new Error('enough'));
    await refused;
    await sink.close();
  });
});
