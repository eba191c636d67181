import { once } from 'node:events';
import { createServer } from 'node:net';

import { freePort } from '@azaion/testing';

/** The preferred port of loopback when nobody listens there, else some free one. */
export async function preferredPort(preferred: number): Promise<number> {
  const server = createServer();
  try {
    server.listen(preferred, '127.0.0.1');
    await once(server, 'listening');
    return preferred;
  } catch {
    return await freePort();
  } finally {
    server.close();
  }
}
