import { lstat, unlink } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { connect, type Socket } from 'node:net';

import type { FastifyInstance, FastifyRequest } from 'fastify';

import { answerClientError } from './client-error.js';
import { SilentConnections } from './silent-connections.js';

/** Where to listen beside the port. */
export interface UnixSocket {
  readonly path: string;
  /** Permissions of the file: who may write it may connect. */
  readonly mode: number;
}

const local = new WeakSet<object>();

/** Whether a request came over a Unix socket: from a process of this machine that may write the file. */
export function cameOverUnixSocket(request: FastifyRequest): boolean {
  return local.has(request.raw.socket);
}

/**
 * Serves an application on a Unix socket too, as plain HTTP, from when it is ready until it closes; the file is gone then. One that a
 * killed process left behind is taken over. It makes `ready` fail when the path is taken by something else.
 *
 * @param graceMs - Time that running requests get at shutdown before their connections are cut.
 * @param headersMs - Time for the headers of a request to arrive.
 */
export function serveOnUnixSocket(
  fastify: FastifyInstance,
  socket: UnixSocket,
  graceMs: number,
  headersMs: number,
): Server {
  const server = createServer({ requestTimeout: 0, headersTimeout: headersMs }, (request, response) =>
    fastify.routing(request, response),
  );
  server.on('connection', (connection: Socket) => local.add(connection));
  server.on('clientError', (error, connection) => answerClientError(error, connection));
  const silent = new SilentConnections(server);
  let closed = Promise.resolve();
  fastify.addHook('onReady', () => listen(server, socket));
  fastify.addHook('preClose', (done) => {
    if (server.listening) closed = new Promise((resolve) => server.close(() => resolve()));
    silent.close();
    setTimeout(() => server.closeAllConnections(), graceMs).unref();
    done();
  });
  fastify.addHook('onClose', () => closed);
  return server;
}

async function listen(server: Server, { path, mode }: UnixSocket): Promise<void> {
  await removeStale(path);
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => reject(cannotBeMade(path, error)));
    // The file is made within this call: it never has more permissions than it should, not even for a moment.
    const before = process.umask(0o777 & ~mode);
    try {
      server.listen(path, resolve);
    } finally {
      process.umask(before);
    }
  });
}

/** Removes a socket nobody listens on. @throws Error when somebody does, or when it is no socket. */
async function removeStale(path: string): Promise<void> {
  const found = await lstat(path).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw cannotBeMade(path, error);
  });
  if (found === undefined) return;
  if (!found.isSocket()) throw new Error(`The socket ${path} cannot be made: something else has that name.`);
  if (await isListenedOn(path)) throw new Error(`Another process listens on the socket ${path}.`);
  await unlink(path);
}

/** The system says the same of a directory that is missing and of one that may not be written. */
function cannotBeMade(path: string, cause: unknown): Error {
  return new Error(`The socket ${path} cannot be made: check that its directory exists and may be written.`, { cause });
}

function isListenedOn(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(path);
    probe.once('connect', () => {
      probe.destroy();
      resolve(true);
    });
    // Only this says that nobody is there: whatever else went wrong is no reason to take the file away.
    probe.once('error', ({ code }: NodeJS.ErrnoException) => resolve(code !== 'ECONNREFUSED' && code !== 'ENOENT'));
  });
}
