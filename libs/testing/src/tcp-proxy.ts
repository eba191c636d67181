import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

/** How bad the network is. Byte positions count what the server sent on one connection, from 0. */
export interface LinkConditions {
  /** One way, in both directions: a round trip takes twice as long. */
  readonly delayMs?: number;
  /** For each connection and direction. */
  readonly bytesPerSecond?: number;
  /** After this many bytes nothing more reaches the client, and the connection stays open. */
  readonly stallAfterBytes?: number;
  /** After this many bytes the client's connection is reset. */
  readonly resetAfterBytes?: number;
  /** After this many bytes the client's connection is closed in good order, as if the server had finished. */
  readonly cutAfterBytes?: number;
  /** The lowest bit of the byte at this position is flipped. */
  readonly corruptAtByte?: number;
}

/** A TCP proxy on loopback that worsens the connections through it. Strictly first in, first out. */
export interface TcpProxy {
  readonly host: string;
  readonly port: number;
  /** Connections that clients have opened so far. */
  readonly connections: number;
  /** Bytes delivered to clients so far. */
  readonly deliveredBytes: number;
  /** Replaces the conditions, also for bytes that wait inside the proxy. */
  change(conditions: LinkConditions): void;
  /** Resets every open connection; new ones are accepted. */
  resetAll(): void;
  /** From here on brings nothing to anybody, as a radio out of range: connections are accepted and stay open. */
  silence(): void;
  /** From here on breaks every connection. */
  sever(): void;
  /** Is a good link again, for new connections. */
  mend(): void;
  /** Stops listening and resets every open connection. */
  stop(): Promise<void>;
}

/** What waits inside one direction; above it the sender is slowed down by TCP itself. */
const MAX_WAITING_BYTES = 4 * 1024 * 1024;
/** A slice of a rate-limited transfer: small enough for an even flow, large enough to be cheap. */
const SLICE_BYTES = 16 * 1024;

/**
 * Starts a proxy in front of a TCP server.
 *
 * @param target - Where connections are passed on to; one that cannot be reached resets the client.
 */
export async function startTcpProxy(
  target: { readonly host?: string; readonly port: number },
  conditions: LinkConditions = {},
): Promise<TcpProxy> {
  const state = { conditions, connections: 0, deliveredBytes: 0, stopped: false };
  const open = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (client) => {
    state.connections += 1;
    const upstream = connect({ host: target.host ?? '127.0.0.1', port: target.port, allowHalfOpen: true });
    const resetBoth = (): void => {
      client.resetAndDestroy();
      upstream.destroy();
    };
    for (const socket of [client, upstream]) {
      socket.setNoDelay(true);
      socket.once('error', resetBoth);
      open.add(socket);
      socket.once('close', () => open.delete(socket));
    }
    client.once('close', () => upstream.destroy());
    const pass = (pumping: Promise<void>): void => void pumping.catch(resetBoth);
    pass(pump(client, upstream, state));
    pass(pump(upstream, client, state, new Damage(client, state)));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const resetAll = (): void => {
    for (const socket of open) socket.resetAndDestroy();
  };
  const change = (changed: LinkConditions): void => {
    state.conditions = changed;
  };
  /** For open connections, too: what they did before is not what they do now. */
  const become = (changed: LinkConditions): void => {
    change(changed);
    resetAll();
  };
  return {
    host: '127.0.0.1',
    port: (server.address() as AddressInfo).port,
    get connections() {
      return state.connections;
    },
    get deliveredBytes() {
      return state.deliveredBytes;
    },
    change,
    resetAll,
    silence: () => become({ stallAfterBytes: 0 }),
    sever: () => become({ resetAfterBytes: 0 }),
    mend: () => become({}),
    stop: async () => {
      state.stopped = true;
      const closed = once(server, 'close');
      server.close();
      resetAll();
      await closed;
    },
  };
}

interface ProxyState {
  conditions: LinkConditions;
  deliveredBytes: number;
}

/** What happens to the bytes on their way to the client at given positions. */
class Damage {
  private position = 0;

  constructor(
    private readonly client: Socket,
    private readonly state: ProxyState,
  ) {}

  /** The part of a piece that may be delivered, and what happens to the connection afterwards. */
  apply(piece: Buffer): { deliver: Buffer; then: 'continue' | 'cut' | 'reset' | 'stall' } {
    const { conditions } = this.state;
    const ends = [
      { at: conditions.stallAfterBytes, then: 'stall' as const },
      { at: conditions.resetAfterBytes, then: 'reset' as const },
      { at: conditions.cutAfterBytes, then: 'cut' as const },
    ].flatMap(({ at, then }) => (at !== undefined && this.position + piece.length >= at ? [{ at, then }] : []));
    const first = ends.sort((a, b) => a.at - b.at)[0];
    const allowedBytes = first === undefined ? piece.length : Math.max(0, first.at - this.position);
    const deliver = Buffer.from(piece.subarray(0, allowedBytes));
    const corrupt = (conditions.corruptAtByte ?? -1) - this.position;
    if (corrupt >= 0 && corrupt < deliver.length) deliver.writeUInt8(deliver.readUInt8(corrupt) ^ 1, corrupt);
    this.position += deliver.length;
    return { deliver, then: first?.then ?? 'continue' };
  }

  /** Ends the connection the way the conditions say. */
  end(how: 'cut' | 'reset'): void {
    if (how === 'cut') this.client.end();
    else this.client.resetAndDestroy();
  }
}

/** Moves bytes in one direction until the source ends. One loop per direction keeps the order. */
async function pump(source: Socket, sink: Socket, state: ProxyState, damage?: Damage): Promise<void> {
  const waiting: { bytes: Buffer; arrivedMs: number }[] = [];
  let waitingBytes = 0;
  const sender = { ended: false, gone: false };
  let wake: () => void = () => undefined;
  source.on('data', (bytes: Buffer) => {
    waiting.push({ bytes, arrivedMs: performance.now() });
    waitingBytes += bytes.length;
    if (waitingBytes > MAX_WAITING_BYTES) source.pause();
    wake();
  });
  source.once('end', () => {
    sender.ended = true;
    wake();
  });
  source.once('close', () => {
    sender.gone = true;
    wake();
  });
  // Only the receiving side ends a wait: what the sender sent before it left still arrives, and in its time.
  const unreachable = new AbortController();
  sink.once('close', () => {
    unreachable.abort();
    wake();
  });

  let lineFreeMs = 0;
  for (;;) {
    const next = waiting.shift();
    if (sink.destroyed) return;
    if (next === undefined) {
      if (sender.ended) break;
      if (sender.gone) return;
      await new Promise<void>((resolve) => (wake = resolve));
      continue;
    }
    for (let from = 0; from < next.bytes.length; from += SLICE_BYTES) {
      const slice = next.bytes.subarray(from, from + SLICE_BYTES);
      await until(next.arrivedMs + (state.conditions.delayMs ?? 0), unreachable.signal);
      const { bytesPerSecond } = state.conditions;
      if (bytesPerSecond !== undefined) {
        lineFreeMs = Math.max(lineFreeMs, performance.now()) + (slice.length / bytesPerSecond) * 1000;
        await until(lineFreeMs, unreachable.signal);
      }
      const { deliver, then } = damage?.apply(slice) ?? { deliver: slice, then: 'continue' };
      if (damage !== undefined) state.deliveredBytes += deliver.length;
      if (!sink.write(deliver)) await drained(sink);
      if (then === 'stall') return;
      if (then !== 'continue') {
        // A reset must not overtake the bytes before it.
        await new Promise<void>((resolve) => sink.write(Buffer.alloc(0), () => resolve()));
        damage?.end(then);
        return;
      }
    }
    waitingBytes -= next.bytes.length;
    if (waitingBytes <= MAX_WAITING_BYTES) source.resume();
  }
  await until(performance.now() + (state.conditions.delayMs ?? 0), unreachable.signal);
  sink.end();
}

async function until(momentMs: number, signal: AbortSignal): Promise<void> {
  const waitMs = momentMs - performance.now();
  if (waitMs > 0) await delay(waitMs, undefined, { signal }).catch(() => undefined);
}

function drained(sink: Socket): Promise<void> {
  return new Promise((resolve) => {
    const settle = (): void => {
      sink.off('drain', settle).off('close', settle);
      resolve();
    };
    if (sink.destroyed) settle();
    else sink.on('drain', settle).on('close', settle);
  });
}
