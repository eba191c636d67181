import { type Caller, TokenVerifier } from '@azaion/identity';
import { Controller, Get, Module, Put } from '@nestjs/common';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';

import { AnyRole, createApp, Public } from './index.js';

@Controller('things')
class Things {
  @Get()
  @Public()
  open(): object {
    return { ok: true };
  }

  @Get(':id')
  @AnyRole()
  mine(): object {
    return {};
  }

  @Put(':id')
  @AnyRole()
  change(): object {
    return {};
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

@Module({ controllers: [Things], providers: [{ provide: TokenVerifier, useClass: NobodyVerifier }] })
class ThingsModule {}

const CONSOLE = 'https://console.example.com';

describe('pages of other origins', () => {
  let app: NestFastifyApplication;
  afterEach(() => app.close());

  async function start(allowedOrigins?: readonly string[]): Promise<void> {
    app = await createApp(ThingsModule, {
      api: { title: 'Things', description: '', version: '1' },
      validationStatus: 400,
      log: { level: 'silent' },
      ...(allowedOrigins === undefined ? {} : { allowedOrigins }),
    });
    await app.listen(0, '127.0.0.1');
  }

  async function call(
    method: string,
    path: string,
    headers: Record<string, string>,
  ): Promise<{ readonly status: number; readonly headers: Headers }> {
    const answer = await fetch(`${await app.getUrl()}${path}`, { method, headers });
    await answer.arrayBuffer();
    return { status: answer.status, headers: answer.headers };
  }
  const preflight = (path: string, origin: string): ReturnType<typeof call> =>
    call('OPTIONS', path, {
      origin,
      'access-control-request-method': 'PUT',
      'access-control-request-headers': 'authorization, content-type',
    });
  const permissions = (headers: Headers): readonly string[] =>
    [...headers.keys()].filter((name) => name.startsWith('access-control-'));

  it.each([undefined, []])('may read nothing unless they are listed: %p', async (origins) => {
    await start(origins);
    const simple = await call('GET', '/things', { origin: CONSOLE });
    const asked = await preflight('/things/1', CONSOLE);
    expect([simple.status, asked.status]).toEqual([200, 405]);
    for (const { headers } of [simple, asked]) expect(permissions(headers)).toEqual([]);
    expect(simple.headers.get('cross-origin-resource-policy')).toBe('same-origin');
  });

  it('may read answers and errors alike when they are listed, without cookies', async () => {
    await start(['https://other.example.com', CONSOLE]);
    for (const [path, status] of [
      ['/things', 200],
      ['/things/1', 401],
      ['/nothing', 404],
    ] as const) {
      const { status: got, headers } = await call('GET', path, { origin: CONSOLE });
      expect([got, headers.get('access-control-allow-origin')]).toEqual([status, CONSOLE]);
      expect(headers.get('vary')).toBe('origin');
      expect(headers.get('access-control-expose-headers')).toContain('x-request-id');
      expect(headers.get('access-control-allow-credentials')).toBeNull();
    }
  });

  it('are told what an address knows before they send a token', async () => {
    await start([CONSOLE]);
    const { status, headers } = await preflight('/things/1', CONSOLE);
    expect(status).toBe(204);
    expect(headers.get('access-control-allow-origin')).toBe(CONSOLE);
    expect(headers.get('access-control-allow-methods')?.split(', ')).toEqual(expect.arrayContaining(['GET', 'PUT']));
    expect(headers.get('access-control-allow-headers')).toContain('authorization');
    expect(headers.get('access-control-max-age')).toBe('600');
    expect(headers.get('x-content-type-options')).toBe('nosniff');
  });

  it('are told nothing of an address that does not exist, nor by an OPTIONS that asks for nothing', async () => {
    await start([CONSOLE]);
    expect((await preflight('/nothing', CONSOLE)).status).toBe(404);
    expect((await call('OPTIONS', '/things/1', { origin: CONSOLE })).status).toBe(405);
  });

  it.each([
    'https://console.example.com.evil.example',
    'https://evil-console.example.com',
    'http://console.example.com',
    'https://console.example.com:8443',
    'https://CONSOLE.example.com/',
    'null',
    '*',
  ])('stay out under names that only look like one on the list: %s', async (origin) => {
    await start([CONSOLE]);
    const simple = await call('GET', '/things', { origin });
    const asked = await preflight('/things/1', origin);
    expect(asked.status).toBe(405);
    for (const { headers } of [simple, asked]) expect(permissions(headers)).toEqual([]);
    expect(simple.headers.get('vary')).toBe('origin');
  });
});
