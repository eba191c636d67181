import { randomInt } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer } from 'node:net';

/** Below what Linux, unless told otherwise, gives to connections and to servers that ask for any port (32768 and up): nobody gets one of these by chance. */
const LOWEST = 12_000;
const HIGHEST = 32_767;
const ATTEMPTS = 200;

/**
 * A TCP port on loopback that nobody listens on, kept from every other caller on this machine until this process ends. For programs that cannot be
 * told to choose one themselves: the port may be used late, and more than once.
 *
 * The UDP port of the same number is the reservation: the kernel gives it to one process alone, and takes it back however that ends.
 *
 * @throws Error when nothing was free in 200 attempts.
 */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const port = randomInt(LOWEST, HIGHEST + 1);
    if ((await reserve(port)) && (await nobodyListens(port))) return port;
  }
  throw new Error(`No free port between ${LOWEST} and ${HIGHEST} was found in ${ATTEMPTS} attempts.`);
}

async function reserve(port: number): Promise<boolean> {
  const socket = createSocket('udp4').unref();
  try {
    socket.bind({ port, address: '127.0.0.1', exclusive: true });
    await once(socket, 'listening');
    return true;
  } catch {
    socket.close();
    return false;
  }
}

/** Whether a server could listen at this port of loopback now. */
export async function nobodyListens(port: number): Promise<boolean> {
  const server = createServer();
  try {
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    server.close();
    await once(server, 'close');
    return true;
  } catch {
    return false;
  }
}
