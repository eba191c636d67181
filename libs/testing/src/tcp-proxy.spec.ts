import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { text } from 'node:stream/consumers';
import { pseudoRandomBytes, startTcpProxy, type LinkConditions, type TcpProxy } from './index.js';

const PAYLOAD = pseudoRandomBytes('payload', 300_000);

describe('startTcpProxy', () => {
  let server: Server;
  let proxy: TcpProxy;

  beforeEach(async () => {
    // Answers every connection with the payload once the client has said something.
    server = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.once('data', () => socket.end(PAYLOAD));
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    proxy = await startTcpProxy({ port: (server.address() as AddressInfo).port });
  });
  afterEach(async () => {
    await proxy.stop();
    server.close();
  });

  /** What a client gets, how its connection ended, and how long it took. */
  const download = async (conditions: LinkConditions): Promise<{ bytes: Buffer; end: string; elapsedMs: number }> => {
    proxy.change(conditions);
    const startedMs = performance.now();
    const socket = connect(proxy.port, proxy.host);
    const pieces: Buffer[] = [];
    socket.on('data', (piece: Buffer) => pieces.push(piece));
    socket.write('please');
    const end = await new Promise<string>((resolve) => {
      socket.once('end', () => resolve('end'));
      socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'error'));
    });
    socket.destroy();
    return { bytes: Buffer.concat(pieces), end, elapsedMs: performance.now() - startedMs };
  };

  it('passes every byte on in order when conditions are good', async () => {
    const { bytes, end } = await download({});
    expect(bytes.equals(PAYLOAD)).toBe(true);
    expect(end).toBe('end');
    expect(proxy.deliveredBytes).toBe(PAYLOAD.length);
    expect(proxy.connections).toBe(1);
  });

  it('keeps the order under delay and rate, which add up to at least the time that they must take', async () => {
    const { bytes, elapsedMs } = await download({ delayMs: 40, bytesPerSecond: 1_000_000 });
    expect(bytes.equals(PAYLOAD)).toBe(true);
    expect(elapsedMs).toBeGreaterThanOrEqual(2 * 40 + 300 - 5);
  });

  it.each([0, 1, 65_536, 299_999])('flips one bit of byte %i and no other', async (corruptAtByte) => {
    const { bytes } = await download({ corruptAtByte });
    const different = [...PAYLOAD.keys()].filter((index) => PAYLOAD[index] !== bytes[index]);
    expect(different).toEqual([corruptAtByte]);
    expect(PAYLOAD[corruptAtByte]! ^ bytes[corruptAtByte]!).toBe(1);
  });

  it.each([0, 1, 100_000])('cuts after exactly %i bytes, in good order', async (cutAfterBytes) => {
    const { bytes, end } = await download({ cutAfterBytes });
    expect(bytes.equals(PAYLOAD.subarray(0, cutAfterBytes))).toBe(true);
    expect(end).toBe('end');
  });

  it('resets after at most the given number of bytes', async () => {
    const { bytes, end } = await download({ resetAfterBytes: 100_000 });
    expect(end).toBe('ECONNRESET');
    expect(bytes.equals(PAYLOAD.subarray(0, bytes.length))).toBe(true);
    expect(bytes.length).toBeLessThanOrEqual(100_000);
  });

  it('stalls after exactly the given number of bytes with the connection open, until it is reset', async () => {
    const stalled = download({ stallAfterBytes: 100_000 });
    while (proxy.deliveredBytes < 100_000) await new Promise(setImmediate);
    const free = await download({});
    expect(free.end).toBe('end');
    proxy.resetAll();
    const { bytes, end } = await stalled;
    expect(end).toBe('ECONNRESET');
    expect(bytes.length).toBeLessThanOrEqual(100_000);
  });

  it('resets clients when the server cannot be reached', async () => {
    server.close();
    await once(server, 'close');
    expect((await download({})).end).toBe('ECONNRESET');
  });

  it('passes on that a client has finished sending, and still delivers the answer', async () => {
    const echo = createServer({ allowHalfOpen: true }, (socket) => {
      let received = '';
      socket.on('data', (piece: Buffer) => (received += piece.toString()));
      socket.once('end', () => socket.end(`got ${received}`));
    }).listen(0, '127.0.0.1');
    await once(echo, 'listening');
    const toEcho = await startTcpProxy({ port: (echo.address() as AddressInfo).port }, { delayMs: 5 });
    const socket = connect({ port: toEcho.port, host: toEcho.host, allowHalfOpen: true });
    socket.end('all of it');
    expect(await text(socket)).toBe('got all of it');
    await toEcho.stop();
    echo.close();
  });
});
