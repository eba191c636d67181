import { TokenVerifier } from '@azaion/identity';
import { InMemoryJwksSource } from '@azaion/identity/testing';
import { Controller, Get, Ip, Module } from '@nestjs/common';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';

import { createApp, Public } from './index.js';

@Controller('address')
class Addresses {
  @Get()
  @Public()
  address(@Ip() address: string): object {
    return { address };
  }
}

@Module({ controllers: [Addresses], providers: [{ provide: TokenVerifier, useValue: new InMemoryJwksSource() }] })
class AddressModule {}

const PROXY = '192.0.2.1';
const OTHER_PROXY = '198.51.100.77';
const STRANGER = '203.0.113.5';
const CALLER = '203.0.113.99';
const INVENTED = '10.1.2.3';

describe('the address of a caller', () => {
  const apps: NestFastifyApplication[] = [];
  const started = async (trustedProxies?: readonly string[]): Promise<NestFastifyApplication> => {
    const app = await createApp(AddressModule, {
      api: { title: 'Addresses', description: 'A test.', version: '1' },
      validationStatus: 400,
      log: { level: 'silent' },
      ...(trustedProxies === undefined ? {} : { trustedProxies }),
    });
    await app.init();
    await app.getHttpAdapter().getInstance().ready();
    apps.push(app);
    return app;
  };
  let trusting: NestFastifyApplication;
  beforeAll(async () => {
    trusting = await started([PROXY, '198.51.100.0/24']);
  });
  afterAll(() => Promise.all(apps.map((app) => app.close())));

  const addressOf = async (app: NestFastifyApplication, peer: string, forwardedFor?: string): Promise<string> => {
    const headers = forwardedFor === undefined ? {} : { 'x-forwarded-for': forwardedFor };
    const answer = await app.inject({ method: 'GET', url: '/address', remoteAddress: peer, headers });
    return answer.json<{ address: string }>().address;
  };

  it('is the peer’s where no proxy is trusted, whatever the header says', async () => {
    const app = await started();
    for (const header of [undefined, CALLER, `${INVENTED}, ${CALLER}`])
      expect(await addressOf(app, PROXY, header)).toBe(PROXY);
  });

  it.each([
    ['what a trusted proxy says', PROXY, CALLER, CALLER],
    ['what a proxy of a trusted network says', OTHER_PROXY, CALLER, CALLER],
    ['the proxy’s own where it says nothing', PROXY, undefined, PROXY],
    [
      'the last that no trusted proxy is: the caller may have invented those before',
      PROXY,
      `${INVENTED}, ${CALLER}`,
      CALLER,
    ],
    ['the same behind two trusted proxies', PROXY, `${INVENTED}, ${CALLER}, ${OTHER_PROXY}`, CALLER],
    ['the peer’s where the peer is no trusted proxy', STRANGER, CALLER, STRANGER],
    ['the peer’s where it claims to be behind a trusted proxy', STRANGER, `${CALLER}, ${PROXY}`, STRANGER],
  ])('is %s', async (_, peer, header, address) => {
    expect(await addressOf(trusting, peer, header)).toBe(address);
  });
});
