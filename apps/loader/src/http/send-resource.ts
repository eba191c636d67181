import { Readable } from 'node:stream';

import { type ByteRange } from '@azaion/kernel';
import { type FastifyReply } from 'fastify';

import { entityHeaders, type ServableResource } from './entity-headers.js';

/**
 * Streams plaintext under backpressure. What fails before the first byte becomes a problem document; what fails later cuts the
 * connection, so that a short body never looks complete.
 *
 * @param signal - Aborted when the client has gone.
 */
export async function sendResource(
  reply: FastifyReply,
  resource: ServableResource,
  range: ByteRange | undefined,
  signal: AbortSignal,
): Promise<void> {
  const totalBytes = resource.statement.totalBytes;
  const { start, end } = range ?? { start: 0, end: totalBytes };
  const chunks = resource.read(range, undefined, signal)[Symbol.asyncIterator]();
  const first = await chunks.next();
  void reply.status(range === undefined ? 200 : 206).headers({
    ...entityHeaders(resource),
    'content-length': String(end - start),
    ...(range === undefined ? {} : { 'content-range': `bytes ${start}-${end - 1}/${totalBytes}` }),
  });
  if (first.done === true) {
    await reply.send(Buffer.alloc(0));
    return;
  }
  await reply.send(Readable.from(rest(first.value, chunks), { objectMode: false, highWaterMark: 256 * 1024 }));
}

/** The chunks again, with the first one that was read ahead; stopping stops the work behind them. */
async function* rest(first: Buffer, chunks: AsyncIterator<Buffer>): AsyncGenerator<Buffer> {
  try {
    yield first;
    for (let next = await chunks.next(); next.done !== true; next = await chunks.next()) yield next.value;
  } finally {
    await chunks.return?.();
  }
}

/** A signal that is aborted when the client goes away before its answer is complete. */
export function clientGone(reply: FastifyReply): AbortSignal {
  const gone = new AbortController();
  reply.raw.once('close', () => {
    if (!reply.raw.writableFinished) gone.abort(new ClientGoneError());
  });
  return gone.signal;
}

/** Why work was stopped: nobody waits for it any more. Nobody sees it. */
export class ClientGoneError extends Error {
  constructor() {
    super('the client closed the connection');
    this.name = 'ClientGoneError';
  }
}
