import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

import { answerClientError } from './client-error.js';

/** How slow a request may arrive. Times in milliseconds. */
export interface SlowRequestLimits {
  /** From the connection, or the end of the request before, to the end of the headers. */
  readonly headersMs: number;
  /** How long a body may be silent, or be slower than {@link SlowRequestLimits.leastBytesPerSecond} in sum. */
  readonly bodyGraceMs: number;
  /** A body may be this slow for ever: 200 MiB over the poorest link are hours, not an attack. */
  readonly leastBytesPerSecond: number;
  /** How long what is left of a body is read away after its request was answered. */
  readonly lingerMs: number;
  /** How often all this is looked at. */
  readonly checkMs: number;
}

/** What holds unless an application says otherwise. */
export const DEFAULT_SLOW_REQUEST_LIMITS: SlowRequestLimits = {
  headersMs: 60_000,
  bodyGraceMs: 60_000,
  leastBytesPerSecond: 1024,
  lingerMs: 30_000,
  checkMs: 1_000,
};

/**
 * Patience with one body: time that passes while the service waits for it is taken from the grace, bytes that come give it back. So neither
 * a fast beginning nor a large body buys more silence than the grace.
 */
export class BodyAllowance {
  private leftMs: number;

  /**
   * @param sinceMs - When the body began, on a clock that only goes forward.
   * @param bytes - Of the connection until then.
   */
  constructor(
    private readonly limits: Pick<SlowRequestLimits, 'bodyGraceMs' | 'leastBytesPerSecond'>,
    private sinceMs: number,
    private bytes: number,
  ) {
    this.leftMs = limits.bodyGraceMs;
  }

  /**
   * Whether the client may go on.
   *
   * @param bytes - Of the connection until now.
   * @param waiting - Whether the service waits for the client; `false` while it has bytes that it does not read itself.
   */
  goesOn(nowMs: number, bytes: number, waiting: boolean): boolean {
    const earnedMs = ((bytes - this.bytes) * 1000) / this.limits.leastBytesPerSecond;
    const spentMs = waiting ? nowMs - this.sinceMs : 0;
    this.leftMs = Math.min(this.limits.bodyGraceMs, this.leftMs + earnedMs - spentMs);
    this.sinceMs = nowMs;
    this.bytes = bytes;
    return this.leftMs > 0;
  }
}

interface Arriving {
  readonly response: ServerResponse;
  readonly allowance: BodyAllowance;
  answeredMs?: number;
}

/**
 * Ends requests whose body trickles, with 408 where no answer has begun, and connections that go on sending long after the answer. Headers
 * that trickle are ended by Node itself: see {@link SlowRequestLimits.headersMs}.
 */
export class SlowRequests {
  private readonly arriving = new Map<IncomingMessage, Arriving>();
  private timer: NodeJS.Timeout | undefined;

  constructor(private readonly limits: SlowRequestLimits) {}

  /** Watches all requests of a server from now on. */
  watch(server: Server): void {
    server.on('request', (request: IncomingMessage, response: ServerResponse) => {
      const { 'content-length': length = '0', 'transfer-encoding': encoding } = request.headers;
      if (encoding === undefined && Number(length) === 0) return;
      const allowance = new BodyAllowance(this.limits, performance.now(), request.socket.bytesRead);
      const entry: Arriving = { response, allowance };
      this.arriving.set(request, entry);
      response.once('close', () => (entry.answeredMs = performance.now()));
      this.timer ??= setInterval(() => this.check(), this.limits.checkMs).unref();
    });
  }

  private check(): void {
    for (const [request, entry] of this.arriving) {
      if (request.complete || request.socket.destroyed) this.arriving.delete(request);
      else this.checkOne(request, entry);
    }
    if (this.arriving.size > 0) return;
    clearInterval(this.timer);
    this.timer = undefined;
  }

  private checkOne(request: IncomingMessage, { response, allowance, answeredMs }: Arriving): void {
    const nowMs = performance.now();
    const { socket } = request;
    // Answered: the answer has had its time to arrive, and nobody wants the rest.
    if (answeredMs !== undefined && nowMs - answeredMs >= this.limits.lingerMs) socket.destroy();
    else if (!allowance.goesOn(nowMs, socket.bytesRead, request.readableLength === 0)) endSlow(socket, response);
  }
}

function endSlow(socket: Socket, response: ServerResponse): void {
  // `socket` of a response is set while it is its turn to be written.
  if (response.socket !== socket || response.headersSent) socket.destroy();
  else {
    answerClientError(Object.assign(new Error('slow'), { code: 'ERR_HTTP_REQUEST_TIMEOUT' }), socket, true);
    socket.destroySoon();
  }
}
