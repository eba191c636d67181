import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';

import { type TempDirectory, tempDirectory } from '@azaion/testing';

import { type Profile, ProfileFile, type Session } from './profile.js';
import { runCommandLine } from './program.js';

/** A service that writes down what it is sent, and answers what it is told to. */
class Listener {
  readonly heard: { readonly line: string; readonly authorization: string | undefined; readonly body: string }[] = [];
  answer: (line: string) => readonly [status: number, body: object, headers?: Record<string, string>] = () => [404, {}];

  private constructor(
    private readonly server: Server,
    readonly url: string,
  ) {}

  static async start(): Promise<Listener> {
    const server = createServer((request, response) => {
      let body = '';
      request.setEncoding('utf8').on('data', (part: string) => (body += part));
      request.on('end', () => {
        const line = `${request.method ?? ''} ${request.url ?? ''}`;
        listener.heard.push({ line, authorization: request.headers.authorization, body });
        const [status, answer, headers = {}] = listener.answer(line);
        response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(answer));
      });
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const listener = new Listener(server, `http://127.0.0.1:${String((server.address() as AddressInfo).port)}`);
    return listener;
  }

  /** Everything that it was sent, as one text. */
  get all(): string {
    return JSON.stringify(this.heard);
  }

  stop(): void {
    this.server.closeAllConnections();
    this.server.close();
  }
}

const ACCESS_TOKEN = 'the-access-token';
const REFRESH_TOKEN = 'the-refresh-token';
const inSeconds = (seconds: number): number => Math.floor(Date.now() / 1000) + seconds;

describe('a login', () => {
  let directory: TempDirectory;
  let own: Listener;
  let other: Listener;
  let profile: ProfileFile;
  let said: string;
  beforeEach(async () => {
    directory = await tempDirectory();
    [own, other] = await Promise.all([Listener.start(), Listener.start()]);
    profile = new ProfileFile(join(directory.path, 'profile.json'));
    said = '';
  });
  afterEach(async () => {
    own.stop();
    other.stop();
    await directory.remove();
  });

  function run(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<number> {
    const sink = { write: (text: string) => (said += text) };
    return runCommandLine(args, {
      stdout: sink,
      stderr: sink,
      stdin: new PassThrough().end(),
      env: { AZAION_PROFILE: profile.path, AZAION_PASSWORD: 'a password', ...env },
      version: '1.2.3',
      signal: new AbortController().signal,
    });
  }

  const at = (url: string, change: Partial<Session> = {}): Session => ({
    issuedBy: { kind: 'api', url },
    accessToken: ACCESS_TOKEN,
    expiresAt: inSeconds(900),
    refreshToken: REFRESH_TOKEN,
    ...change,
  });
  const loggedIn = (...sessions: readonly Session[]): Promise<void> => profile.write({ sessions });

  /** One command of every kind of client. */
  const AT_THE_API: readonly (readonly string[])[] = [
    ['list'],
    ['publish', 'FILE'],
    ['fetch', 'models/x', '-o', 'OUTPUT'],
    ['audit', 'export', '-o', 'OUTPUT'],
    ['bundle', 'create', 'models/x', '--device', 'azj-0000', '-o', 'OUTPUT'],
    ['device', 'revoke', 'azj-0000'],
    ['keys', 'publish', 'FILE'],
    ['user', 'list'],
  ];
  const AT_A_LOADER: readonly (readonly string[])[] = [
    ['unlock'],
    ['unlock', '--cancel'],
    ['fetch', 'models/x', '-o', 'OUTPUT'],
  ];
  const commands = [
    ...AT_THE_API.map((words) => ({ kind: 'api' as const, words, text: words.join(' ') })),
    ...AT_A_LOADER.map((words) => ({ kind: 'loader' as const, words, text: words.join(' ') })),
  ];
  async function filledIn(words: readonly string[]): Promise<readonly string[]> {
    const file = join(directory.path, 'file');
    await writeFile(file, 'content');
    const places: Readonly<Record<string, string>> = {
      FILE: file,
      OUTPUT: join(directory.path, 'output'),
    };
    return words.map((word) => places[word] ?? word);
  }

  describe.each(commands)('is not sent to another address by "$text" at --$kind', ({ kind, words }) => {
    const refused = (): void => {
      expect(said).toContain(`You are not logged in at ${other.url}; your login at ${own.url} is sent nowhere else.`);
      expect(said).toContain('[cli.not-logged-in]');
      expect(said).toContain(`Next: Run "azaion login --${kind} ${other.url} --email YOU".`);
      expect(other.all).not.toContain(ACCESS_TOKEN);
      expect(other.all).not.toContain(REFRESH_TOKEN);
      expect(own.heard).toEqual([]);
    };

    it('that an option names', async () => {
      await loggedIn(at(own.url));
      expect(await run([...(await filledIn(words)), `--${kind}`, other.url])).toBe(3);
      refused();
    });

    it('when it must be renewed first: nothing is renewed either', async () => {
      await loggedIn(at(own.url, { expiresAt: inSeconds(-1) }));
      expect(await run([...(await filledIn(words)), `--${kind}`, other.url])).toBe(3);
      refused();
    });
  });

  it('is not sent to another address that the environment or the profile names', async () => {
    await loggedIn(at(own.url));
    expect(await run(['list'], { AZAION_API: other.url })).toBe(3);
    expect(await run(['unlock'], { AZAION_LOADER: other.url })).toBe(3);
    await profile.write({ api: other.url, sessions: [at(own.url)] });
    expect(await run(['list'])).toBe(3);
    expect(other.heard).toEqual([]);
  });

  it.each([
    ['another port', (url: string) => url.replace(/:\d+$/, ':9')],
    ['another name of the same machine', (url: string) => url.replace('127.0.0.1', 'localhost')],
    ['another scheme', (url: string) => url.replace('http:', 'https:')],
    ['a path below', (url: string) => `${url}/below`],
    ['a longer name', (url: string) => url.replace('127.0.0.1', '127.0.0.11')],
  ])('is not sent to %s', async (_what, changed) => {
    await loggedIn(at(own.url));
    expect(await run(['list', '--api', changed(own.url)])).toBe(3);
    expect(said).toContain('cli.not-logged-in');
    expect(own.heard).toEqual([]);
  });

  it('is sent to its own address, however that is written', async () => {
    own.answer = () => [200, { folders: [] }];
    await loggedIn(at(own.url));
    for (const text of [
      own.url,
      `${own.url}/`,
      own.url.replace('http:', 'HTTP:'),
      own.url.replace('127.0.0.1', '127.1'),
    ])
      expect(await run(['list', '--api', text])).toBe(0);
    expect(own.heard.map(({ authorization }) => authorization)).toEqual(Array(4).fill(`Bearer ${ACCESS_TOKEN}`));
  });

  it('is not carried to another address by a redirect', async () => {
    own.answer = () => [307, {}, { location: `${other.url}/sealed` }];
    await loggedIn(at(own.url));
    expect(await run(['list', '--api', own.url])).not.toBe(0);
    expect(await run(['fetch', 'models/x', '--api', own.url, '-o', join(directory.path, 'x')])).not.toBe(0);
    expect(own.heard.length).toBeGreaterThan(1);
    expect(other.heard).toEqual([]);
  });

  it('that came over plain HTTP from another machine is used only where that is still permitted', async () => {
    await loggedIn(at('http://api.example'));
    expect(await run(['list', '--api', 'http://api.example'])).toBe(2);
    expect(said).toContain('plain HTTP to another machine');
  });

  it('at one service stays beside that at another', async () => {
    const tokens = (token: string) => (line: string) =>
      line === 'POST /login'
        ? ([200, { access_token: token, token_type: 'Bearer', expires_in: 900 }] as const)
        : ([line === 'GET /status' ? 404 : 200, { folders: [] }] as const);
    own.answer = tokens('token-of-own');
    other.answer = tokens('token-of-other');
    for (const { url } of [own, other, own])
      expect(await run(['login', '--api', url, '--email', 'a@b.example'])).toBe(0);
    for (const { url } of [other, own]) expect(await run(['list', '--api', url])).toBe(0);
    expect([own.heard.at(-1), other.heard.at(-1)]).toMatchObject([
      { line: 'GET /sealed?limit=200', authorization: 'Bearer token-of-own' },
      { line: 'GET /sealed?limit=200', authorization: 'Bearer token-of-other' },
    ]);
    expect((await profile.read()).sessions).toHaveLength(2);
  });

  it('is renewed at its own service, once for all who wait, and the other one stays', async () => {
    own.answer = (line) =>
      line === 'POST /token/refresh'
        ? [200, { access_token: 'renewed', token_type: 'Bearer', expires_in: 900, refresh_token: 'next' }]
        : [200, { folders: [] }];
    const beside = at(other.url, { accessToken: 'beside' });
    await loggedIn(at(own.url, { expiresAt: inSeconds(30) }), beside);
    const list = (): Promise<number> => run(['list', '--api', own.url]);
    expect(await Promise.all([list(), list(), list()])).toEqual([0, 0, 0]);
    expect(own.heard.filter(({ line }) => line === 'POST /token/refresh')).toHaveLength(1);
    const { sessions } = await profile.read();
    expect(sessions).toContainEqual(beside);
    expect(sessions).toContainEqual(
      expect.objectContaining({
        issuedBy: { kind: 'api', url: own.url },
        accessToken: 'renewed',
        refreshToken: 'next',
      }),
    );
    expect(other.heard).toEqual([]);
  });

  it('is ended, with all others, at the service that gave it; no token is left', async () => {
    [own.answer, other.answer] = [() => [204, {}], () => [503, {}]];
    const away = at('http://127.0.0.1:9', { accessToken: 'away' });
    await loggedIn(at(own.url), at(other.url, { accessToken: 'of-other' }), away);
    expect(await run(['logout', '--json'])).toBe(0);
    expect(JSON.parse(said)).toMatchObject({ ok: true, loggedOut: true, endedAtService: false });
    expect(own.heard).toMatchObject([{ line: 'POST /logout', authorization: `Bearer ${ACCESS_TOKEN}` }]);
    expect(other.heard).toMatchObject([{ line: 'POST /logout', authorization: 'Bearer of-other' }]);
    expect(JSON.parse(await readFile(profile.path, 'utf8')) as Profile).toEqual({ sessions: [] });
  });
});
