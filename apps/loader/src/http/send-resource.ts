import { Readable } from 'node:stream';

import { type ByteRange, releaseBytes } from '@azaion/kernel';
import type { FastifyReply } from 'fastify';

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
  await reply.send(new SentPlaintext(first.value, chunks, reply.raw));
}

/**
 * Plaintext on its way to a client, a part only when the one before has left. Its memory is given back then: left to the collector, a gigabyte
 * would make it run hundreds of times over everything else that the process holds.
 */
class SentPlaintext extends Readable {
  private readonly handedOut: Buffer[] = [];
  private first: Buffer | undefined;

  /** @param answer - What this is piped into. @param chunks - Nobody else's memory; stopped when the stream is destroyed. */
  constructor(
    first: Buffer,
    private readonly chunks: AsyncIterator<Buffer>,
    private readonly answer: { readonly writableLength: number },
  ) {
    super({ highWaterMark: 0 }); // nothing is read ahead here: what is opened ahead has a budget of its own
    this.first = first;
  }

  override _read(): void {
    if (this.answer.writableLength === 0 && this.readableLength === 0)
      for (const sent of this.handedOut.splice(0)) releaseBytes(sent);
    this.nextPart().then(
      (part) => {
        if (part !== undefined) this.handedOut.push(part);
        this.push(part ?? null);
      },
      (error: unknown) => this.destroy(error as Error),
    );
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.handedOut.splice(0); // the socket may still read them
    Promise.resolve(this.chunks.return?.()).then(
      () => done(error),
      () => done(error),
    );
  }

  /** Empty parts would say nothing: a stream that was given one waits to be asked again. */
  private async nextPart(): Promise<Buffer | undefined> {
    const { first } = this;
    this.first = undefined;
    if (first !== undefined && first.length > 0) return first;
    for (let next = await this.chunks.next(); next.done !== true; next = await this.chunks.next())
      if (next.value.length > 0) return next.value;
    return undefined;
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
