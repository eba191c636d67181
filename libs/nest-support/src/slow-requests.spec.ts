import { EventEmitter, once } from 'node:events';
import { connect, type Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { connect as connectTls } from 'node:tls';

import { type Caller, TokenVerifier } from '@azaion/identity';
import { selfSignedCertificate, type TempDirectory, tempDirectory } from '@azaion/testing';
import { Body, Controller, Module, Post } from '@nestjs/common';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import fc from 'fast-check';

import { type AppOptions, BodyStream, createApp, HttpProblem, Public, readAtMost } from './index.js';
import { BodyAllowance, DEFAULT_SLOW_REQUEST_LIMITS } from './slow-requests.js';

const gate = new EventEmitter();

@Controller()
@Public()
class Uploads {
  @Post('json')
  json(@Body() body: object): object {
    return body;
  }

  @Post('binary')
  async binary(@BodyStream() body: Readable): Promise<object> {
    return { sizeBytes: (await readAtMost(body, 1024 * 1024)).length };
  }

  @Post('late')
  async late(@BodyStream() body: Readable): Promise<object> {
    gate.emit('waiting');
    await once(gate, 'read');
    return { sizeBytes: (await readAtMost(body, 1024 * 1024)).length };
  }

  @Post('refused')
  refused(): never {
    throw new HttpProblem('resource.forbidden', 'Not here.');
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

@Module({ controllers: [Uploads], providers: [{ provide: TokenVerifier, useClass: NobodyVerifier }] })
class UploadsModule {}

const MIB = 1024 * 1024;
const { bodyGraceMs, leastBytesPerSecond } = DEFAULT_SLOW_REQUEST_LIMITS;

describe('the patience with a body', () => {
  /** Seconds until it ends, at a check every second; `undefined` when it lasts for all that come. */
  function endsAfter(bytesOfSeconds: Iterable<number>, waiting = true): number | undefined {
    const allowance = new BodyAllowance(DEFAULT_SLOW_REQUEST_LIMITS, 0, 0);
    let seconds = 0;
    let bytes = 0;
    for (const more of bytesOfSeconds) {
      seconds += 1;
      bytes += more;
      if (!allowance.goesOn(seconds * 1000, bytes, waiting)) return seconds;
    }
    return undefined;
  }
  const steady = (bytes: number, seconds: number): number[] => Array.from({ length: seconds }, () => bytes);

  it('ends with silence of the grace, and not before', () => {
    expect(endsAfter(steady(0, 59))).toBeUndefined();
    expect(endsAfter(steady(0, 60))).toBe(60);
  });

  it('lasts for 200 MiB at the least speed, and ends below it', () => {
    const seconds = (200 * MIB) / leastBytesPerSecond;
    expect(endsAfter(steady(leastBytesPerSecond, seconds))).toBeUndefined();
    expect(endsAfter(steady(leastBytesPerSecond - 1, seconds))).toBe((bodyGraceMs * leastBytesPerSecond) / 1000);
    expect(endsAfter(steady(1, seconds))).toBe(61);
  });

  it('cannot be bought by a fast beginning', () => {
    expect(endsAfter([200 * MIB, ...steady(0, 59)])).toBeUndefined();
    expect(endsAfter([200 * MIB, ...steady(0, 100)])).toBe(61);
  });

  it('lasts over gaps shorter than the grace when the speed is right in sum', () => {
    const burst = [...steady(0, 58), 59 * leastBytesPerSecond];
    expect(endsAfter(Array.from({ length: 100 }, () => burst).flat())).toBeUndefined();
  });

  it('is not used up while the service itself does not read', () => {
    expect(endsAfter(steady(0, 10_000), false)).toBeUndefined();
  });

  it('ends for no body that is fast enough in every second, for every body that is too slow in all', () => {
    const speeds = (least: number, most: number): fc.Arbitrary<number[]> =>
      fc.array(fc.integer({ min: least, max: most }), { minLength: 200, maxLength: 400 });
    fc.assert(
      fc.property(speeds(leastBytesPerSecond, MIB), (bytes) => expect(endsAfter(bytes)).toBeUndefined()),
      { numRuns: 50 },
    );
    fc.assert(
      fc.property(speeds(0, leastBytesPerSecond / 2), (bytes) => expect(endsAfter(bytes)).toBeLessThanOrEqual(120)),
      { numRuns: 50 },
    );
  });
});

describe('a slow request', () => {
  let directory: TempDirectory;
  beforeAll(async () => {
    directory = await tempDirectory();
  });
  afterAll(() => directory.remove());

  const HASTE = { headersMs: 200, bodyGraceMs: 200, leastBytesPerSecond: 10_000, lingerMs: 200, checkMs: 20 };
  let app: NestFastifyApplication;
  let port: number;
  afterEach(() => app.close());

  async function start(
    slowRequests: AppOptions['slowRequests'] = HASTE,
    more: Partial<AppOptions> = {},
  ): Promise<void> {
    app = await createApp(UploadsModule, {
      api: { title: 'Uploads', description: '', version: '1' },
      validationStatus: 400,
      log: { level: 'silent' },
      slowRequests,
      ...more,
    });
    await app.listen(0, '127.0.0.1');
    port = (app.getHttpServer().address() as { readonly port: number }).port;
  }

  const head = (path: string, ...headers: string[]): string =>
    [`POST ${path} HTTP/1.1`, 'Host: localhost', ...headers, '', ''].join('\r\n');
  const BINARY = 'Content-Type: application/octet-stream';

  /** Sends a beginning, then the same piece every 20 ms for as long as the server lets it. @returns What the server sent. */
  async function trickle(
    beginning: string,
    piece: string,
    socket: Socket = connect(port, '127.0.0.1'),
  ): Promise<string> {
    let answer = '';
    socket.on('data', (part: Buffer) => (answer += part.toString('latin1')));
    socket.on('error', () => undefined); // writing may fail before the end is seen
    socket.write(beginning);
    const timer = setInterval(() => {
      if (socket.writable && piece !== '') socket.write(piece);
    }, 20);
    await new Promise((resolve) => socket.once('close', resolve)); // with or without an error before it
    clearInterval(timer);
    return answer;
  }

  const refusal = (answer: string): unknown => {
    const [first = '', body = ''] = [answer.split('\r\n', 1)[0], answer.split('\r\n\r\n')[1]];
    return [first, (JSON.parse(body) as { readonly code: string }).code];
  };
  const TOO_SLOW = ['HTTP/1.1 408 Request Timeout', 'request.timeout'];

  it.each([
    ['JSON of known length', head('/json', 'Content-Type: application/json', 'Content-Length: 1000'), ' '],
    ['a binary body of known length', head('/binary', BINARY, 'Content-Length: 100000000'), 'x'],
    ['a binary body in parts', head('/binary', BINARY, 'Transfer-Encoding: chunked'), '1\r\nx\r\n'],
    ['a body that never comes', head('/binary', BINARY, 'Content-Length: 1'), ''],
  ])('is ended with 408: %s', async (_, beginning, piece) => {
    await start();
    expect(refusal(await trickle(beginning, piece))).toEqual(TOO_SLOW);
  });

  it('is ended on a connection that was used before, too', async () => {
    await start();
    const good = `${head('/json', 'Content-Type: application/json', 'Content-Length: 2')}{}`;
    const answers = await trickle(good + head('/binary', BINARY, 'Content-Length: 1000'), 'x');
    const second = answers.indexOf('HTTP/1.1', 1);
    expect(answers).toMatch(/^HTTP\/1\.1 201 /);
    expect(refusal(answers.slice(second))).toEqual(TOO_SLOW);
  });

  it('is ended over TLS', async () => {
    const { cert, key } = selfSignedCertificate();
    await start(HASTE, { tls: { cert, key } });
    const socket = connectTls({ port, host: '127.0.0.1', ca: cert, checkServerIdentity: () => undefined });
    await once(socket, 'secureConnect');
    expect(refusal(await trickle(head('/binary', BINARY, 'Content-Length: 1000'), 'x', socket))).toEqual(TOO_SLOW);
  });

  it('is ended on the Unix socket', async () => {
    const path = `${directory.path}/socket`;
    await start(HASTE, { unixSocket: { path, mode: 0o600 } });
    const answer = await trickle(head('/binary', BINARY, 'Content-Length: 1000'), 'x', connect(path));
    expect(refusal(answer)).toEqual(TOO_SLOW);
  });

  it.each([
    ['headers that trickle', 'POST /json HTTP/1.1\r\nHost: localhost\r\n', 'X-A: 1\r\n'],
    ['a connection that says nothing', '', ''],
  ])('is ended before there is one: %s', async (_, beginning, piece) => {
    await start();
    expect(refusal(await trickle(beginning, piece))).toEqual(TOO_SLOW);
  });

  it('is read away for a while after it was refused, then cut', async () => {
    await start({ ...HASTE, bodyGraceMs: 60_000, leastBytesPerSecond: 1 });
    const answer = await trickle(head('/refused', BINARY, 'Content-Length: 100000000000'), 'x'.repeat(10_000));
    expect(answer).toMatch(/^HTTP\/1\.1 403 /);
    expect(answer).toContain('resource.forbidden');
  });

  it('keeps its connection when a refused body ends in time', async () => {
    await start({ ...HASTE, lingerMs: 60_000 });
    const refused = head('/refused', BINARY, 'Content-Length: 100000') + 'x'.repeat(100_000);
    const good = head('/json', 'Content-Type: application/json', 'Content-Length: 2', 'Connection: close');
    const answers = await trickle(`${refused}${good}{}`, '');
    expect(answers.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 403', 'HTTP/1.1 201']);
  });

  it('is not held against the client when the service itself does not read', async () => {
    await start();
    const waiting = once(gate, 'waiting');
    const sizeBytes = 900_000;
    const late = fetch(`http://127.0.0.1:${String(port)}/late`, {
      method: 'POST',
      headers: { 'content-type': 'application/octet-stream' },
      body: new Uint8Array(sizeBytes),
    });
    await waiting;
    await trickle(head('/binary', BINARY, 'Content-Length: 1000'), 'x'); // a whole grace has gone by
    gate.emit('read');
    expect(await (await late).json()).toEqual({ sizeBytes });
  });
});
