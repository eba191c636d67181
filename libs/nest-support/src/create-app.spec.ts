import { EventEmitter, once } from 'node:events';
import { connect } from 'node:net';
import { Readable } from 'node:stream';

import {
  AccessTokenIssuer,
  type Caller,
  JwksTokenVerifier,
  type Role,
  ROLES,
  TokenVerifier,
  WORKING_ROLES,
} from '@azaion/identity';
import { InMemoryJwksSource } from '@azaion/identity/testing';
import { ManualClock, NameError } from '@azaion/kernel';
import { ResourceError } from '@azaion/split-resource';
import { Body, Controller, Get, Logger, Module, Param, Post, Query, Req, StreamableFile } from '@nestjs/common';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { Type } from 'class-transformer';
import { IsInt, IsString, Max, ValidateNested } from 'class-validator';
import type { FastifyRequest } from 'fastify';

import {
  AllowRoles,
  AnyRole,
  BodyStream,
  createApp,
  CurrentCaller,
  HttpProblem,
  listRoutes,
  Metrics,
  OptionalCaller,
  Public,
  readAtMost,
  undeclaredRoutes,
} from './index.js';
import { Optional } from './optional.js';

class Part {
  @IsString()
  reference!: string;
}

class Thing {
  @IsString()
  name!: string;

  @IsInt()
  @Max(10)
  size!: number;

  @Optional()
  @ValidateNested({ each: true })
  @Type(() => Part)
  parts?: Part[];
}

class Search {
  @Optional()
  @IsString()
  text?: string;
}

class Nothing {
  @Optional()
  @IsString()
  email?: string;
}

let verified = 0;

@Controller('things')
class Things {
  @Get('open')
  @Public()
  open(@CurrentCaller() caller: Caller | undefined, @Query() search: Search): object {
    return { caller: caller?.email ?? null, text: search.text };
  }

  @Get('mine')
  @AnyRole()
  mine(@CurrentCaller() caller: Caller): object {
    return { email: caller.email };
  }

  @Get('admin')
  @AllowRoles('Admin', 'ApiAdmin')
  admin(): object {
    return { ok: true };
  }

  @Get('either')
  @OptionalCaller('Operator')
  either(@CurrentCaller() caller: Caller | undefined): object {
    return { email: caller?.email ?? null };
  }

  @Get('forgotten')
  forgotten(): object {
    return { ok: true };
  }

  @Post()
  @Public()
  create(@Body() body: Thing): object {
    return {
      name: body.name,
      size: body.size,
      parts: body.parts,
      prototype: Object.getPrototypeOf(body) === Thing.prototype,
    };
  }

  @Post('unlock')
  @Public()
  unlock(@Body() body: Nothing): object {
    return { email: body.email ?? null };
  }

  @Post('binary')
  @Public()
  async binary(@BodyStream() body: Readable): Promise<object> {
    return { sizeBytes: (await readAtMost(body, 3 * 1024 * 1024)).length };
  }

  @Post('limited')
  @Public()
  async limited(@BodyStream() body: Readable): Promise<object> {
    return { sizeBytes: (await readAtMost(body, 10)).length };
  }

  @Post('form')
  @Public()
  async form(@Req() request: FastifyRequest): Promise<object> {
    const fields: string[] = [];
    for await (const part of request.parts()) {
      fields.push(part.fieldname);
      if (part.type === 'file') await readAtMost(part.file, 100);
    }
    return { fields, body: request.body ?? null };
  }

  @Post('fails/after-json')
  @Public()
  failsAfterJson(@Body() { email }: Nothing): string {
    return email ?? failUnforeseen();
  }

  @Post('fails/after-bytes')
  @Public()
  async failsAfterBytes(@BodyStream() body: Readable): Promise<never> {
    await readAtMost(body, 3 * 1024 * 1024);
    failUnforeseen();
  }

  @Post('fails/after-form')
  @Public()
  async failsAfterForm(@Req() request: FastifyRequest): Promise<never> {
    for await (const part of request.parts()) if (part.type === 'file') await readAtMost(part.file, 100);
    failUnforeseen();
  }

  @Get('left')
  @Public()
  async left(@Req() request: FastifyRequest): Promise<never> {
    const close = once(request.raw.socket, 'close');
    leaving.emit('waiting');
    await close;
    setImmediate(() => leaving.emit('failed'));
    throw new Error('nobody waits any more');
  }

  @Get('fails/:how')
  @Public()
  fails(@Param('how') how: string): unknown {
    switch (how) {
      case 'domain':
        throw new ResourceError('resource.rollback-refused', 'An older version.', { details: { version: 3 } });
      case 'name':
        throw new NameError('name.invalid', 'Bad name.');
      case 'own':
        throw new HttpProblem('thing.broken', 'Broken.');
      case 'limit':
        throw new HttpProblem('api.unreachable', 'Too slow.', { status: 504, headers: { 'retry-after': '7' } });
      case 'stream':
        return new StreamableFile(Readable.from(failingAfter(0)));
      case 'late-unknown':
        return new StreamableFile(Readable.from(failingAfter(3, new Error('the disk went away'))), { length: 40 });
      case 'endless':
        return new StreamableFile(Readable.from(endless()));
      case 'late':
        return new StreamableFile(Readable.from(failingAfter(3)), { length: 40 });
      default:
        failUnforeseen();
    }
  }
}

function failUnforeseen(): never {
  new Logger('Things').warn('it will fail');
  throw new Error('password=hunter2 at /var/lib/azaion/keys', {
    cause: new Error('GET https://cdn.example/pack?signature=geheim failed'),
  });
}

/** Tells when the route that waits for its client to leave does, and when it has failed because of that. */
const leaving = new EventEmitter();

async function* failingAfter(
  chunks: number,
  error: Error = new ResourceError('resource.integrity', 'Damaged.'),
): AsyncGenerator<Buffer> {
  for (let chunk = 0; chunk < chunks; chunk += 1) yield await Promise.resolve(Buffer.alloc(10));
  throw error;
}

async function* endless(): AsyncGenerator<Buffer> {
  for (;;) yield await Promise.resolve(Buffer.alloc(100_000));
}

const clock = new ManualClock(1_800_000_000_000);
const source = new InMemoryJwksSource();
const PROFILE = { issuer: 'issuer', audience: 'audience' };

class CountingVerifier extends JwksTokenVerifier {
  override verify(token: string): Promise<Caller> {
    verified += 1;
    return super.verify(token);
  }
}

@Module({
  controllers: [Things],
  providers: [{ provide: TokenVerifier, useFactory: () => new CountingVerifier(source, clock, PROFILE) }],
})
class ThingsModule {}

const JSON_TYPE = { 'content-type': 'application/json' };
const BINARY_TYPE = { 'content-type': 'application/octet-stream' };

function form(): FormData {
  const data = new FormData();
  data.append('data', new Blob(['x'.repeat(50)]));
  return data;
}

describe('an application', () => {
  let app: NestFastifyApplication;
  let base: string;
  let log: string;
  const metrics = new Metrics();
  const written = new EventEmitter();
  let issuer: AccessTokenIssuer;

  beforeAll(async () => {
    const key = await source.publish();
    issuer = new AccessTokenIssuer(() => Promise.resolve(key), clock, { ...PROFILE, lifetimeSeconds: 900 });
    app = await createApp(ThingsModule, {
      api: { title: 'Things', description: 'A test.', version: '1' },
      validationStatus: 422,
      jsonBodyLimitBytes: 10_000,
      allowedHosts: ['things.example'],
      multipart: { limits: { fileSize: 1000 } },
      log: { destination: { write: (line: string) => void written.emit('line', (log += line)) } },
      metrics: { registry: metrics },
      problems: {
        problems: { 'thing.broken': { status: 409, title: 'Broken thing' } },
        extend: (error) =>
          error.code === 'thing.broken' ? { ErrorCode: 60, Message: error.message, status: 200 } : {},
      },
    });
    await app.listen(0, '127.0.0.1');
    base = (await app.getUrl()).replace('[::1]', '127.0.0.1');
  });
  afterAll(() => app.close());
  beforeEach(() => {
    log = '';
    verified = 0;
  });

  const tokenFor = (role: Role): Promise<string> =>
    issuer.issue({ userId: 'u', email: `${role}@azaion.com`, role, sessionId: 's' });

  /** How many requests were counted under these labels. */
  async function counted(labels: string): Promise<number> {
    const text = await metrics.text();
    return Number(text.split(`azaion_http_requests_total{${labels}} `)[1]?.split('\n')[0] ?? 0);
  }

  async function call(
    path: string,
    init: RequestInit = {},
  ): Promise<{ status: number; headers: Headers; body: Record<string, unknown> }> {
    const response = await fetch(`${base}${path}`, init);
    return { status: response.status, headers: response.headers, body: (await response.json()) as never };
  }

  const post = (path: string, body: string, headers: Record<string, string> = JSON_TYPE): ReturnType<typeof call> =>
    call(path, { method: 'POST', body, headers });

  async function bearer(path: string, token: string): ReturnType<typeof call> {
    return call(path, { headers: { authorization: `Bearer ${token}` } });
  }

  function expectProblem(
    answer: { status: number; headers: Headers; body: Record<string, unknown> },
    status: number,
    code: string,
  ): void {
    expect(answer.status).toBe(status);
    expect(answer.headers.get('content-type')).toMatch(/^application\/problem\+json/);
    expect(answer.body).toMatchObject({ status, code, type: 'about:blank' });
    expect(answer.body['requestId']).toBe(answer.headers.get('x-request-id'));
    for (const member of ['title', 'detail', 'instance']) expect(answer.body[member]).toEqual(expect.any(String));
  }

  describe('access', () => {
    it('lets everybody use a public route and does not look at a token there', async () => {
      expect((await call('/things/open')).body).toEqual({ caller: null });
      expect((await bearer('/things/open', 'nonsense')).body).toEqual({ caller: null });
      expect(verified).toBe(0);
    });

    it('refuses a route without a rule, also for an administrator, and lists it', async () => {
      expectProblem(await call('/things/forgotten'), 403, 'route.undeclared');
      expectProblem(await bearer('/things/forgotten', await tokenFor('ApiAdmin')), 403, 'route.undeclared');
      expect(undeclaredRoutes(app).map(({ handler }) => handler)).toEqual(['Things.forgotten']);
      expect(listRoutes(app)).toContainEqual({
        method: 'GET',
        path: '/things/admin',
        handler: 'Things.admin',
        rule: { kind: 'roles', roles: ['Admin', 'ApiAdmin'] },
      });
    });

    it('asks for a token', async () => {
      const answer = await call('/things/mine');
      expectProblem(answer, 401, 'token.missing');
      expect(answer.headers.get('www-authenticate')).toBe('Bearer');
    });

    it('asks for a token when there is another kind of credentials', async () => {
      for (const authorization of ['Basic YTpi', 'Bearer', await tokenFor('Admin')])
        expectProblem(await call('/things/mine', { headers: { authorization } }), 401, 'token.missing');
    });

    it('refuses a bad token and an expired one, and says so', async () => {
      const token = await tokenFor('Operator');
      const [header, payload] = token.split('.') as [string, string];
      const bad = [
        'nonsense',
        `${header}.${payload}.`,
        `${token.slice(0, -10)}AAAAAAAAAA`,
        `${Buffer.from('{"alg":"none","typ":"at+jwt"}').toString('base64url')}.${payload}.`,
      ];
      for (const one of bad) {
        const answer = await bearer('/things/mine', one);
        expectProblem(answer, 401, 'token.invalid');
        expect(answer.headers.get('www-authenticate')).toBe('Bearer error="invalid_token"');
      }
      clock.advance(1_000_000);
      expectProblem(await bearer('/things/mine', token), 401, 'token.expired');
    });

    it('lets every working role but None use a route for any role', async () => {
      for (const role of Object.keys(ROLES) as Role[]) {
        const { status } = await bearer('/things/mine', await tokenFor(role));
        expect([role, status]).toEqual([role, role === 'None' ? 403 : 200]);
      }
    });

    it('lets exactly the named roles in', async () => {
      for (const role of WORKING_ROLES) {
        const answer = await bearer('/things/admin', await tokenFor(role));
        if (role === 'Admin' || role === 'ApiAdmin') expect(answer.status).toBe(200);
        else expectProblem(answer, 403, 'role.forbidden');
      }
    });

    it('takes an optional token seriously', async () => {
      expect((await call('/things/either')).body).toEqual({ email: null });
      expect((await bearer('/things/either', await tokenFor('Operator'))).body).toEqual({
        email: 'Operator@azaion.com',
      });
      expectProblem(await bearer('/things/either', 'nonsense'), 401, 'token.invalid');
      expectProblem(await bearer('/things/either', await tokenFor('Admin')), 403, 'role.forbidden');
    });

    it('keeps the callers of requests at the same time apart', async () => {
      const tokens = await Promise.all(WORKING_ROLES.map(tokenFor));
      const answers = await Promise.all([...tokens, ...tokens].map((token) => bearer('/things/mine', token)));
      expect(answers.map(({ body }) => body['email'])).toEqual(
        [...WORKING_ROLES, ...WORKING_ROLES].map((role) => `${role}@azaion.com`),
      );
    });
  });

  describe('errors before a handler', () => {
    it.each(['{', '{"name":', 'nonsense', '{"__proto__":{"a":1}}', '{"constructor":{"prototype":{"a":1}}}', '\u0000'])(
      'answers malformed JSON %j with 400',
      async (body) => expectProblem(await post('/things', body), 400, 'request.malformed'),
    );

    it('answers a body over the limit with 413, announced or not', async () => {
      expectProblem(await post('/things', JSON.stringify({ name: 'x'.repeat(20_000) })), 413, 'request.too-large');
      const stream = ReadableStream.from([Buffer.alloc(20_000, ' ')]);
      const init = { method: 'POST', body: stream, headers: JSON_TYPE, duplex: 'half' } as RequestInit;
      expectProblem(await call('/things', init), 413, 'request.too-large');
    });

    it.each(['text/plain', 'application/xml', 'application/x-www-form-urlencoded', 'nonsense'])(
      'answers %s with 415',
      async (type) =>
        expectProblem(await post('/things', 'a=1', { 'content-type': type }), 415, 'request.unsupported-media-type'),
    );

    it('answers an unknown address with 404, whatever the body', async () => {
      expectProblem(await call('/nothing'), 404, 'route.not-found');
      expectProblem(await post('/nothing', '{'), 404, 'route.not-found');
      expectProblem(await post('/nothing', 'x', { 'content-type': 'text/plain' }), 404, 'route.not-found');
      const huge = { method: 'POST', body: Buffer.alloc(2_000_000), headers: { 'content-type': 'a/b' } };
      expectProblem(await call('/nothing', huge), 404, 'route.not-found');
    });

    it('answers a method that an address does not know with 405 and those it knows', async () => {
      const answer = await call('/things/open', { method: 'DELETE' });
      expectProblem(answer, 405, 'route.method-not-allowed');
      expect(answer.headers.get('allow')).toBe('GET, HEAD');
      expectProblem(await call('/things/fails/x?y', { method: 'PATCH' }), 405, 'route.method-not-allowed');
    });

    it('answers an address that cannot be decoded or is too long', async () => {
      const malformed = await call('/things/fails/%zz?signature=secret');
      expectProblem(malformed, 400, 'request.malformed');
      expect(malformed.body['instance']).toBe('/things/fails/%zz');
      expectProblem(await call(`/things/fails/${'x'.repeat(600)}`), 414, 'request.uri-too-long');
    });

    it.each([
      ['GET / HTTP/1.1\r\nno colon\r\n\r\n', 400, 'request.malformed'],
      [`GET / HTTP/1.1\r\nHost: a\r\nx: ${'y'.repeat(40_000)}\r\n\r\n`, 431, 'request.headers-too-large'],
    ])('answers what is no HTTP', async (text, status, code) => {
      const [head = '', body = ''] = (await raw(text)).split('\r\n\r\n');
      expect(head).toMatch(new RegExp(`^HTTP/1.1 ${String(status)} .*\r\ncontent-type: application/problem\\+json`));
      expect(JSON.parse(body)).toMatchObject({ status, code });
    });

    function raw(text: string): Promise<string> {
      return new Promise((resolve, reject) => {
        const socket = connect(Number(new URL(base).port), '127.0.0.1', () => socket.write(text));
        let answer = '';
        socket.on('data', (chunk) => (answer += chunk.toString()));
        socket.on('close', () => resolve(answer));
        socket.on('error', reject);
      });
    }

    it('answers names it was not given and pages of other origins', async () => {
      const port = new URL(base).port;
      const ask = (host: string, more = ''): Promise<string> =>
        raw(`GET /things/open HTTP/1.1\r\nHost: ${host}\r\n${more}Connection: close\r\n\r\n`);
      for (const host of [`127.0.0.1:${port}`, 'localhost', '[::1]:80', 'things.example', 'THINGS.example:1'])
        expect(await ask(host)).toMatch(/^HTTP\/1.1 200 /);
      for (const host of ['attacker.example', 'localhost.attacker.example', '127.0.0.1.attacker.example', 'other'])
        expect(await ask(host)).toMatch(/^HTTP\/1.1 421 .*request\.host-refused/s);
      expect(await ask('localhost:1', 'Origin: http://localhost:1\r\n')).toMatch(/^HTTP\/1.1 200 /);
      for (const origin of ['http://attacker.example', 'null', 'http://localhost:2'])
        expect(await ask('localhost:1', `Origin: ${origin}\r\n`)).toMatch(/^HTTP\/1.1 403 .*request\.origin-refused/s);
    });
  });

  describe('validation', () => {
    it('hands an instance of the class to the handler', async () => {
      const answer = await post('/things', '{"name":"a","size":1,"parts":[{"reference":"r"}]}');
      expect(answer.body).toEqual({ name: 'a', size: 1, parts: [{ reference: 'r' }], prototype: true });
    });

    it('lists every bad field, unknown and nested ones among them', async () => {
      const answer = await post(
        '/things',
        '{"name":1,"size":99,"parts":[{"reference":"r"},{"reference":2,"x":1}],"hardware":"h"}',
      );
      expectProblem(answer, 422, 'request.invalid');
      const errors = answer.body['errors'] as { field: string; messages: string[] }[];
      expect(errors.map(({ field }) => field).sort()).toEqual([
        'hardware',
        'name',
        'parts.1.reference',
        'parts.1.x',
        'size',
      ]);
      expect(errors.find(({ field }) => field === 'hardware')?.messages).toEqual(['is not known here']);
    });

    it.each(['[]', 'null', '"text"', '1', 'true', '[{"name":"a","size":1}]'])('refuses the body %s', async (body) => {
      const answer = await post('/things', body);
      expectProblem(answer, 422, 'request.invalid');
      expect(answer.body['errors']).toEqual([{ field: 'body', messages: ['must be a JSON object'] }]);
    });

    it.each(['constructor', 'toString', 'hasOwnProperty', '__defineGetter__', 'prototype'])(
      'refuses a member called %s',
      async (name) => {
        const answer = await post('/things', JSON.stringify({ name: 'a', size: 1, [name]: { x: 1 } }));
        // `constructor.prototype` is refused by the parser already.
        expectProblem(answer, 422, 'request.invalid');
        expect(answer.body['errors']).toEqual([{ field: name, messages: ['is not known here'] }]);
        expect(Object.prototype).not.toHaveProperty('x');
      },
    );

    it('refuses U+0000 in every text, however deep, and in the query', async () => {
      const answer = await post('/things', JSON.stringify({ name: 'a\0', size: 1, parts: [{ label: '\0' }] }));
      expectProblem(answer, 422, 'request.invalid');
      expect(answer.body['errors']).toEqual([
        { field: 'parts.0.label', messages: ['must not hold U+0000'] },
        { field: 'name', messages: ['must not hold U+0000'] },
      ]);
      expectProblem(await call('/things/open?text=%00'), 422, 'request.invalid');
    });

    it('refuses nesting that would exhaust the stack', async () => {
      const deep = `${'['.repeat(4000)}${']'.repeat(4000)}`;
      expectProblem(await post('/things', `{"name":"a","size":1,"parts":${deep}}`), 422, 'request.invalid');
    });

    it('takes a missing body for an empty object', async () => {
      expect((await call('/things/unlock', { method: 'POST' })).body).toEqual({ email: null });
      expect((await post('/things/unlock', '')).body).toEqual({ email: null });
      const answer = await call('/things', { method: 'POST' });
      expect((answer.body['errors'] as unknown[]).length).toBe(2);
    });

    it('refuses unknown and repeated query members', async () => {
      expectProblem(await call('/things/open?other=1'), 422, 'request.invalid');
      expectProblem(await call('/things/open?text=a&text=b'), 422, 'request.invalid');
      expect((await call('/things/open?text=a')).body).toEqual({ caller: null, text: 'a' });
    });
  });

  describe('problems', () => {
    it('shows a domain error with its details', async () => {
      const answer = await call('/things/fails/domain?secret=1');
      expectProblem(answer, 409, 'resource.rollback-refused');
      expect(answer.body).toMatchObject({ detail: 'An older version.', version: 3, instance: '/things/fails/domain' });
      expect(answer.headers.get('cache-control')).toBe('no-store');
    });

    it("adds an application's rows and members, which cannot replace those of the standard", async () => {
      const answer = await call('/things/fails/own');
      expectProblem(answer, 409, 'thing.broken');
      expect(answer.body).toMatchObject({ ErrorCode: 60, Message: 'Broken.', title: 'Broken thing' });
    });

    it('lets a handler choose status and headers of the case', async () => {
      const answer = await call('/things/fails/limit');
      expectProblem(answer, 504, 'api.unreachable');
      expect(answer.headers.get('retry-after')).toBe('7');
    });

    it('shows nothing of an unknown error and logs it with its cause', async () => {
      const answer = await call('/things/fails/unknown');
      expectProblem(answer, 500, 'server.error');
      expect(JSON.stringify(answer.body)).not.toMatch(/hunter2|azaion|cause/);
      expect(log).toContain('GET https://cdn.example/pack?[redacted] failed');
      expect(log).not.toContain('geheim');
    });

    // What is found by the id that somebody was shown must hold the cause, whatever was read of the request before.
    it.each<readonly [string, RequestInit]>([
      ['unknown', {}],
      ['after-json', { method: 'POST', headers: JSON_TYPE, body: '{}' }],
      ['after-bytes', { method: 'POST', headers: BINARY_TYPE, body: Buffer.alloc(1024 * 1024) }],
      ['after-form', { method: 'POST', body: form() }],
    ])('logs every entry of a request with its id (%s)', async (how, init) => {
      const answer = await call(`/things/fails/${how}`, init);
      expectProblem(answer, 500, 'server.error');
      while (!log.includes('request answered')) await once(written, 'line');
      const lines = log
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as Record<string, unknown>);
      const requestId = answer.body['requestId'];
      expect(lines).toEqual([
        expect.objectContaining({ msg: 'it will fail', requestId }),
        expect.objectContaining({
          err: expect.objectContaining({
            cause: expect.objectContaining({ type: 'Error' }) as object,
          }) as object,
          requestId,
        }),
        expect.objectContaining({ msg: 'request answered', requestId }),
      ]);
    });

    it('does not take what a leaving client stopped for a fault', async () => {
      const [waiting, failed] = [once(leaving, 'waiting'), once(leaving, 'failed')];
      const socket = connect(Number(new URL(base).port), '127.0.0.1', () =>
        socket.write('GET /things/left HTTP/1.1\r\nhost: localhost\r\n\r\n'),
      );
      await waiting;
      socket.destroy();
      await failed;
      expect(log).not.toContain('server.error');
    });

    it('answers a stream that fails before its first byte, and cuts one that fails later', async () => {
      expectProblem(await call('/things/fails/stream'), 502, 'resource.integrity');
      const late = async (): Promise<unknown> => (await fetch(`${base}/things/fails/late`)).arrayBuffer();
      await expect(late()).rejects.toThrow();
    });

    it.each([
      ['late', 502, 'resource.integrity', 'Damaged.'],
      ['late-unknown', 500, 'server.error', 'the disk went away'],
    ])('counts and logs what broke an answer off (%s) as the failure that it was', async (how, status, code, why) => {
      await expect(fetch(`${base}/things/fails/${how}`).then((answer) => answer.arrayBuffer())).rejects.toThrow();
      while (!log.includes('answer broken off')) await once(written, 'line');
      const lines = log
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as Record<string, unknown>);
      expect(lines).toEqual([
        expect.objectContaining({
          msg: 'answer broken off',
          level: 50,
          requestId: expect.stringMatching(/^[0-9a-f-]{36}$/) as string,
          path: `/things/fails/${how}`,
          status,
          code,
          err: expect.objectContaining({ message: why }) as object,
        }),
      ]);
      const route = 'method="GET",route="/things/fails/:how"';
      expect(await counted(`${route},status="${String(status)}"`)).toBeGreaterThan(0);
      expect(await counted(`${route},status="200"`)).toBe(0);
    });

    it('counts no failure where the client leaves, and says that the answer did not end', async () => {
      const waiting = once(leaving, 'waiting');
      const port = Number(new URL(base).port);
      const socket = connect(port, '127.0.0.1', () =>
        socket.write('GET /things/left HTTP/1.1\r\nhost: localhost\r\n\r\n'),
      );
      await waiting;
      socket.destroy();
      while (!log.includes('client left')) await once(written, 'line');
      expect(log).toContain('"status":499');
      const long = connect(port, '127.0.0.1', () =>
        long.write('GET /things/fails/endless HTTP/1.1\r\nhost: localhost\r\n\r\n'),
      );
      await once(long, 'data');
      long.destroy();
      while (!log.includes('/things/fails/endless')) await once(written, 'line');
      expect(log).toContain('"path":"/things/fails/endless","status":200');
      expect(log).not.toContain('"level":50');
    });
  });

  describe('bodies that are not JSON', () => {
    it('streams binary content beyond the limit for JSON', async () => {
      const binary = { 'content-type': 'application/octet-stream' };
      const answer = await call('/things/binary', { method: 'POST', body: Buffer.alloc(2_000_000), headers: binary });
      expect(answer.body).toEqual({ sizeBytes: 2_000_000 });
      expectProblem(await post('/things/limited', 'x'.repeat(11), binary), 413, 'request.too-large');
      expect((await post('/things/limited', 'x'.repeat(10), binary)).body).toEqual({ sizeBytes: 10 });
      expectProblem(await post('/things/binary', '{}'), 415, 'request.unsupported-media-type');
    });

    it('hands the parts of a multipart body to the handler one by one', async () => {
      const form = new FormData();
      form.append('folder', 'models');
      form.append('data', new Blob(['content']), 'file');
      expect((await call('/things/form', { method: 'POST', body: form })).body).toMatchObject({
        fields: ['folder', 'data'],
      });
    });
  });

  describe('headers', () => {
    it('takes a sane request id over and replaces every other', async () => {
      const ask = async (id: string): Promise<string | null> =>
        (await call('/things/open', { headers: { 'x-request-id': id } })).headers.get('x-request-id');
      expect(await ask('client-1234.5:6_7')).toBe('client-1234.5:6_7');
      for (const id of ['short', 'with space in it', 'x'.repeat(129), '"quoted-text"', '<script>alert</script>'])
        expect(await ask(id)).toMatch(/^[0-9a-f-]{36}$/);
    });

    it('forbids everything to pages that would embed an answer', async () => {
      const { headers } = await call('/things/open');
      expect(headers.get('content-security-policy')).toMatch(/^default-src 'none'/);
      expect(headers.get('x-content-type-options')).toBe('nosniff');
      expect(headers.get('access-control-allow-origin')).toBeNull();
    });
  });

  describe('documentation', () => {
    it('describes the API in OpenAPI 3.1 with bearer tokens and problems', async () => {
      const { body } = await call('/docs/json');
      const paths = body['paths'] as Record<string, Record<string, { security?: unknown; responses: object }>>;
      expect(body['openapi']).toBe('3.1.0');
      expect(paths['/things/admin']?.['get']?.security).toEqual([{ bearer: [] }]);
      expect(paths['/things/open']?.['get']?.security).toEqual([]);
      expect(paths['/things/open']?.['get']?.responses).toHaveProperty('default');
      expect(body).toMatchObject({ components: { schemas: { Problem: { type: 'object' } } } });
    });

    it('serves Swagger UI from its own origin alone', async () => {
      const page = await fetch(`${base}/docs`);
      const html = await page.text();
      expect(page.headers.get('content-security-policy')).toMatch(/^default-src 'self'/);
      const addresses = [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, address]) => address ?? '');
      expect(addresses.length).toBeGreaterThan(2);
      for (const address of addresses) {
        expect(address).not.toMatch(/^(https?:)?\/\//);
        const asset = await fetch(new URL(address, `${base}/docs`));
        expect([address, asset.status, (await asset.arrayBuffer()).byteLength > 0]).toEqual([address, 200, true]);
      }
      expect(html).not.toMatch(/<script>[^<]/);
    });
  });

  describe('the log', () => {
    it('is JSON lines with the request id and the path, and holds no secret', async () => {
      const token = await tokenFor('Operator');
      await call('/things/mine?access_token=geheim1', {
        headers: { authorization: `Bearer ${token}`, cookie: 'session=geheim2', 'x-request-id': 'request-0001' },
      });
      await post('/things', '{"name":"a","size":1,"password":"geheim3"}', {
        ...JSON_TYPE,
        'x-request-id': 'request-0002',
      });
      await post('/things?access_token=geheim4', '{', { ...JSON_TYPE, 'x-request-id': 'request-0003' });
      await call('/nothing?token=geheim5', { headers: { 'x-request-id': 'request-0004' } });
      while (!log.includes('request-0004')) await once(written, 'line');
      const lines = log
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as Record<string, unknown>);
      const answered = lines.map(({ requestId, path, status }) => [String(requestId), path, status] as const);
      expect(answered.filter(([id]) => id.startsWith('request-'))).toEqual([
        ['request-0001', '/things/mine', 200],
        ['request-0002', '/things', 422],
        ['request-0003', '/things', 400],
        ['request-0004', '/nothing', 404],
      ]);
      expect(log).not.toMatch(/geheim/);
      expect(log).not.toContain(token);
    });
  });
});
