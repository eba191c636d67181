import { once } from 'node:events';
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

const KEEP_ALIVE_MS = 10 * 60_000;

/** A load balancer on loopback: every request goes to the next server. */
export interface RoundRobin {
  readonly url: string;
  /** Requests passed on so far, by server. */
  readonly passed: readonly number[];
  stop(): Promise<void>;
}

/**
 * Starts a load balancer for HTTP. A server that does not take the connection is passed over; a request that a server leaves unanswered
 * is repeated elsewhere when it is a GET, and answered with 502 otherwise, as the usual balancers do; so is a GET answered with 503.
 *
 * @param targets - Base URLs on loopback, without a path.
 */
export async function startRoundRobin(targets: readonly string[]): Promise<RoundRobin> {
  const passed = targets.map(() => 0);
  let turn = 0;
  // Longer than a suite is busy with itself: a client would write into a connection that is just being closed.
  const server = createServer({ keepAliveTimeout: KEEP_ALIVE_MS }, (incoming, outgoing) => {
    turn = (turn + 1) % targets.length;
    pass(incoming, outgoing, turn, targets.length);
  });

  function pass(incoming: IncomingMessage, outgoing: ServerResponse, index: number, triesLeft: number): void {
    // Of this request: with the turn of all, others in between could lead it to the same server again.
    const next = (index + 1) % targets.length;
    const target = new URL(targets[index] ?? '');
    const upstream = request({
      host: target.hostname,
      port: target.port,
      method: incoming.method,
      path: incoming.url,
      headers: { ...incoming.headers, 'x-forwarded-for': incoming.socket.remoteAddress ?? '' },
      agent: false,
    });
    let connected = false;
    upstream.once('socket', (socket) => {
      socket.once('connect', () => {
        connected = true;
        passed[index] = (passed[index] ?? 0) + 1;
        incoming.pipe(upstream);
      });
    });
    upstream.once('response', (answer) => {
      if (answer.statusCode === 503 && incoming.method === 'GET' && triesLeft > 1) {
        answer.resume();
        pass(incoming, outgoing, next, triesLeft - 1);
        return;
      }
      outgoing.writeHead(answer.statusCode ?? 502, answer.rawHeaders);
      answer.once('error', () => outgoing.destroy()); // cut in the middle: never an answer that looks whole
      answer.pipe(outgoing);
    });
    upstream.once('error', () => {
      if (outgoing.headersSent) outgoing.destroy();
      else if (triesLeft > 1 && (!connected || incoming.method === 'GET'))
        pass(incoming, outgoing, next, triesLeft - 1);
      else outgoing.writeHead(502).end();
    });
    outgoing.once('close', () => upstream.destroy());
  }

  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    passed,
    stop: async () => {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}
