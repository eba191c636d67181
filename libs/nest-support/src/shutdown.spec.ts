import { EventEmitter, once } from 'node:events';
import { connect } from 'node:net';

import { type Caller, TokenVerifier } from '@azaion/identity';
import { Controller, Get, Module } from '@nestjs/common';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';

import { createApp, Public } from './index.js';

const gate = new EventEmitter();

@Controller()
@Public()
class Slow {
  @Get('slow')
  async slow(): Promise<object> {
    gate.emit('entered');
    await once(gate, 'release');
    return { done: true };
  }
}

class NobodyVerifier extends TokenVerifier {
  override keyFor(): Promise<never> {
    return Promise.reject(new Error('unused'));
  }
  override verify(): Promise<Caller> {
    return Promise.reject(new Error('unused'));
  }
}

@Module({ controllers: [Slow], providers: [{ provide: TokenVerifier, useClass: NobodyVerifier }] })
class SlowModule {}

describe('shutting down', () => {
  async function start(shutdownGraceMs: number): Promise<NestFastifyApplication> {
    const app = await createApp(SlowModule, {
      api: { title: 'Slow', description: '', version: '1' },
      validationStatus: 400,
      shutdownGraceMs,
      log: { level: 'silent' },
    });
    await app.listen(0, '127.0.0.1');
    return app;
  }

  it('lets a running request end', async () => {
    const app = await start(60_000);
    const entered = once(gate, 'entered');
    const answer = fetch(`${await app.getUrl()}/slow`);
    await entered;
    const closed = app.close();
    gate.emit('release');
    expect(await (await answer).json()).toEqual({ done: true });
    await closed;
  });

  it('does not wait for a connection that never sent a request', async () => {
    const app = await start(60_000);
    const { hostname, port } = new URL(await app.getUrl());
    const socket = connect(Number(port), hostname);
    await once(socket, 'connect');
    await fetch(`${await app.getUrl()}/health/none`); // the server has noticed the connection by now
    const closed = once(
      socket.on('error', () => undefined),
      'close',
    );
    await app.close();
    await closed;
  });

  it('cuts a request that does not end in its grace', async () => {
    const app = await start(1);
    const entered = once(gate, 'entered');
    const answer = fetch(`${await app.getUrl()}/slow`);
    const refused = expect(answer).rejects.toThrow('fetch failed');
    await entered;
    await app.close();
    await refused;
    gate.emit('release');
  });
});
