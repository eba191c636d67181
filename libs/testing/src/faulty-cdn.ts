import { once } from 'node:events';
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

/**
 * What becomes of one answer: a status in its place, without the server being asked; a bit flipped in the middle of the body; the connection
 * closed in good order, reset, or left open without another byte after the first half of it. Of an empty body the whole answer is lost.
 */
export type CdnFault = number | 'corrupt' | 'cut' | 'reset' | 'stall';

/** A CDN on loopback that fails when it is told to: passes every request on to a server, and worsens the answers. */
export interface FaultyCdn {
  readonly url: string;
  /** Requests so far, by method. */
  requests(method: string): number;
  /** Bytes of bodies sent to clients so far. */
  readonly deliveredBytes: number;
  /** Where requests are passed on to: a base URL on loopback, without a path. */
  leadTo(url: string): void;
  /** The next answers fail so; those after them are whole again. @param times - Default: all until the next call. */
  failWith(fault: CdnFault, times?: number): void;
  /** Every answer from now on is whole. */
  mend(): void;
  stop(): Promise<void>;
}

const KEEP_ALIVE_MS = 10 * 60_000;

/** Starts a CDN that fails when it is told to. */
export async function startFaultyCdn(): Promise<FaultyCdn> {
  const requests = new Map<string, number>();
  let target = '';
  let deliveredBytes = 0;
  let failing: { readonly fault: CdnFault; left: number } | undefined;

  // Longer than a suite is busy with itself: a client would write into a connection that is just being closed.
  const server = createServer({ keepAliveTimeout: KEEP_ALIVE_MS }, (incoming, outgoing) => {
    const method = incoming.method ?? '';
    requests.set(method, (requests.get(method) ?? 0) + 1);
    const fault = failing !== undefined && failing.left-- > 0 ? failing.fault : undefined;
    if (typeof fault === 'number') {
      incoming.resume();
      outgoing.writeHead(fault, { 'content-length': 0 }).end();
    } else pass(incoming, outgoing, fault);
  });

  function pass(
    incoming: IncomingMessage,
    outgoing: ServerResponse,
    fault: Exclude<CdnFault, number> | undefined,
  ): void {
    const { hostname, port } = new URL(target);
    const { method, url: path, headers } = incoming;
    const upstream = request({ host: hostname, port, method, path, headers, agent: false });
    upstream.once('error', () => outgoing.destroy());
    upstream.once('response', (answer) => {
      if (fault !== undefined && fault !== 'corrupt' && answer.headers['content-length'] === '0') {
        answer.resume();
        if (fault !== 'stall') outgoing.socket?.resetAndDestroy();
        return;
      }
      outgoing.writeHead(answer.statusCode ?? 502, answer.rawHeaders);
      const body =
        fault === undefined ? answer : Readable.from(worsened(answer, outgoing, fault), { objectMode: false });
      body.on('data', (piece: Buffer) => (deliveredBytes += piece.length));
      pipeline(body, outgoing).catch(() => outgoing.destroy()); // cut in the middle: never an answer that looks whole
    });
    outgoing.once('close', () => upstream.destroy());
    incoming.pipe(upstream);
  }

  async function* worsened(answer: IncomingMessage, outgoing: ServerResponse, fault: CdnFault): AsyncGenerator<Buffer> {
    let untilFault = Math.ceil(Number(answer.headers['content-length'] ?? 0) / 2);
    for await (const piece of answer as AsyncIterable<Buffer>) {
      const at = untilFault;
      untilFault -= piece.length;
      if (at < 0 || at >= piece.length) {
        yield piece;
        continue;
      }
      if (fault === 'corrupt') {
        piece.writeUInt8(piece.readUInt8(at) ^ 1, at);
        yield piece;
        continue;
      }
      yield piece.subarray(0, at);
      await new Promise((sent) => outgoing.write('', sent)); // what was sent before it arrives
      if (fault === 'cut') outgoing.socket?.end();
      else if (fault === 'reset') outgoing.socket?.resetAndDestroy();
      await once(outgoing, 'close');
      return;
    }
  }

  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests: (method) => requests.get(method) ?? 0,
    get deliveredBytes() {
      return deliveredBytes;
    },
    leadTo: (url) => (target = url),
    failWith: (fault, times = Infinity) => (failing = { fault, left: times }),
    mend: () => (failing = undefined),
    stop: async () => {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}
