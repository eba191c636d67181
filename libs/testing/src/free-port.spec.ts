import { once } from 'node:events';
import { createServer } from 'node:net';

import { freePort } from './free-port.js';
import { runCommand } from './run-command.js';

const LOWEST_BY_CHANCE = 32_768;

describe('freePort', () => {
  it('gives a port that a server can listen on, which nobody else is given by chance', async () => {
    const port = await freePort();
    expect(port).toBeLessThan(LOWEST_BY_CHANCE);
    const server = createServer().listen(port, '127.0.0.1');
    await once(server, 'listening');
    server.close();
    await once(server, 'close');
  });

  it('gives none twice, long before anybody listens', async () => {
    const ports = await Promise.all(Array.from({ length: 500 }, () => freePort()));
    expect(new Set(ports).size).toBe(500);
  });

  it('gives none that another process was given', async () => {
    const port = await freePort();
    const bind = `const socket = require('node:dgram').createSocket('udp4');
      socket.on('error', (error) => console.log(error.code)).bind(${port}, '127.0.0.1', () => socket.close(() => console.log('bound')))`;
    expect((await runCommand(process.execPath, ['-e', bind])).trim()).toBe('EADDRINUSE');
  });
});
