import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import { Server as TlsServer } from 'node:tls';

/**
 * Connections that have not sent a request: browsers and HTTP clients open them in advance. Node counts them as neither idle nor busy, so
 * without this a server that closes would wait for them.
 */
export class SilentConnections {
  private readonly sockets = new Set<Socket>();

  constructor(server: Server) {
    // Requests come in on the TLS socket, not on the one below it.
    server.on(server instanceof TlsServer ? 'secureConnection' : 'connection', (socket: Socket) => {
      this.sockets.add(socket);
      socket.once('close', () => this.sockets.delete(socket));
    });
    server.on('request', ({ socket }) => this.sockets.delete(socket));
  }

  /** Ends them all. */
  close(): void {
    for (const socket of this.sockets) socket.destroy();
  }
}
