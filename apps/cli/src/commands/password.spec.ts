import type { IncomingMessage, ServerResponse } from 'node:http';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { json } from 'node:stream/consumers';
import { PassThrough } from 'node:stream';

import { type TempDirectory, tempDirectory } from '@azaion/testing';

import { ProfileFile } from '../profile.js';
import { runCommandLine } from '../program.js';
import { type LoggedInApi, startLoggedInApi } from '../testing/logged-in-api.js';

const EMAIL = 'operator@azaion.example';
const OLD = 'the old password';
const NEW = 'quite another password';

describe('azaion password', () => {
  let directory: TempDirectory;
  let api: LoggedInApi;
  /** What the Admin API holds: a change ends every session, and a login begins one. */
  let password: string;
  let token: string | undefined;
  let loginsFail: boolean;
  let said: string;

  const answerTo = async (request: IncomingMessage): Promise<readonly [number, object?]> => {
    if (request.url === '/login') {
      const given = (await json(request)) as Readonly<Record<string, string>>;
      if (loginsFail || given['email'] !== EMAIL || given['password'] !== password)
        return [503, { code: 'server.unavailable', detail: 'Not now.' }];
      token = 'token-of-the-new-login';
      return [200, { access_token: token, token_type: 'Bearer', expires_in: 900, refresh_token: 'r' }];
    }
    if (token === undefined || request.headers.authorization !== `Bearer ${token}`)
      return [401, { code: 'token.invalid', detail: 'The session has ended.' }];
    if (request.method === 'GET') return [200, { email: EMAIL, role: 'Operator' }];
    const { email, oldPassword, newPassword } = (await json(request)) as Readonly<Record<string, string | undefined>>;
    if (email !== undefined) return [403, { code: 'role.forbidden', detail: 'Others are for administrators.' }];
    if (oldPassword !== password) return [401, { code: 'login.wrong-credentials', detail: 'Wrong.' }];
    password = newPassword ?? '';
    token = undefined;
    return [204];
  };

  beforeEach(async () => {
    directory = await tempDirectory();
    const oldToken = 'token-of-the-old-login';
    [password, token, loginsFail, said] = [OLD, oldToken, false, ''];
    const answered = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
      const [status, body] = await answerTo(request);
      const type = status < 400 ? 'application/json' : 'application/problem+json';
      response.writeHead(status, { 'content-type': type }).end(body === undefined ? undefined : JSON.stringify(body));
    };
    api = await startLoggedInApi(profile().path, (request, response) => void answered(request, response), oldToken);
  });
  afterEach(async () => {
    await api.stop();
    await directory.remove();
  });

  const profile = (): ProfileFile => new ProfileFile(join(directory.path, 'profile.json'));

  const run = (stdin: PassThrough, args: readonly string[] = [], env: NodeJS.ProcessEnv = {}): Promise<number> =>
    azaion(stdin, ['password', ...args], env);
  function azaion(stdin: PassThrough, args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<number> {
    const sink = { write: (text: string) => (said += text) };
    return runCommandLine(args, {
      stdout: sink,
      stderr: sink,
      stdin,
      env: { AZAION_PROFILE: profile().path, ...env },
      version: '1.2.3',
      signal: new AbortController().signal,
    });
  }
  const typing = (...lines: readonly string[]): PassThrough => {
    const terminal = Object.assign(new PassThrough(), { isTTY: true });
    terminal.write(lines.map((line) => `${line}\r`).join(''));
    return terminal;
  };

  it('asks for the current one and twice for the new one, changes it, and stays logged in', async () => {
    expect(await run(typing(OLD, NEW, NEW))).toBe(0);
    expect(password).toBe(NEW);
    expect(said).toBe(
      `Current password: \nNew password: \nNew password, again: \n${EMAIL} has a new password. Its other sessions have ended.\nYou stay logged in at ${api.url}.\n`,
    );
    expect((await profile().read()).sessions).toMatchObject([{ accessToken: token }]);
  });

  it('takes both from files, from variables, or from two lines of a pipe', async () => {
    const file = async (name: string, text: string): Promise<string> => {
      await writeFile(join(directory.path, name), `${text}\n`);
      return join(directory.path, name);
    };
    const files = ['--password-file', await file('old', OLD), '--new-password-file', await file('new', NEW)];
    expect(await run(new PassThrough().end(), files)).toBe(0);
    expect(password).toBe(NEW);
    expect(await run(new PassThrough().end(), [], { AZAION_PASSWORD: NEW, AZAION_NEW_PASSWORD: OLD })).toBe(0);
    expect(password).toBe(OLD);
    expect(await run(new PassThrough().end(`${OLD}\n${NEW}\n`))).toBe(0);
    expect(password).toBe(NEW);
  });

  it('changes nothing when the current one is wrong', async () => {
    expect(await run(typing('not that one', NEW, NEW))).toBe(3);
    expect([password, token]).toEqual([OLD, 'token-of-the-old-login']);
    expect(said).toContain('[login.wrong-credentials]');
  });

  it('asks nothing of who is not logged in', async () => {
    token = undefined;
    expect(await run(typing(OLD, NEW, NEW))).toBe(3);
    expect(said).not.toContain('assword: ');
  });

  it('says that the password is changed also where no login was possible with it', async () => {
    loginsFail = true;
    expect(await run(typing(OLD, NEW, NEW))).toBe(0);
    expect(password).toBe(NEW);
    expect(said).toContain(`Log in again: azaion login --api ${api.url} --email ${EMAIL}`);
  });

  it.each([EMAIL, EMAIL.toUpperCase()])(
    'is what "azaion user set-password %s" names to that account itself, before it asks for anything',
    async (own) => {
      expect(await azaion(typing(NEW, NEW), ['user', 'set-password', own])).toBe(2);
      expect(password).toBe(OLD);
      expect(said).toContain('Next: Run "azaion password"');
      expect(said).not.toContain('assword: ');
    },
  );

  it('leaves that of others to "azaion user set-password", which asks twice too', async () => {
    expect(await azaion(typing(NEW, OLD), ['user', 'set-password', 'other@azaion.example'])).toBe(2);
    expect(said).toContain(
      'New password: \nNew password, again: \nazaion: The new password was not the same both times.',
    );
  });
});
