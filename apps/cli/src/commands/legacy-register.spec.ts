import type { ServerResponse } from 'node:http';
import { readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';

import { type TempDirectory, tempDirectory } from '@azaion/testing';

import { runCommandLine } from '../program.js';
import { remedyFor } from '../remedies.js';
import { type LoggedInApi, startLoggedInApi } from '../testing/logged-in-api.js';

/** Bytes that no text has. */
const FRAGMENT = Buffer.from([0, 255, 10, 13, 128, 0, 10]);
const BINARY = 'application/octet-stream';

describe('azaion legacy register', () => {
  let directory: TempDirectory;
  let api: LoggedInApi;
  let answer: (response: ServerResponse) => void;
  let asked: { method?: string | undefined; path?: string | undefined; token?: string | undefined }[];
  let stdout: string;
  let said: string;

  const at = (name: string): string => join(directory.path, name);
  const giving = (status: number, body: Uint8Array | string = FRAGMENT, type = BINARY): void => {
    answer = (response) => response.writeHead(status, { 'content-type': type }).end(body);
  };

  beforeEach(async () => {
    directory = await tempDirectory();
    [asked, stdout, said] = [[], '', ''];
    api = await startLoggedInApi(at('profile.json'), ({ method, url: path, headers }, response) => {
      asked.push({ method, path, token: headers.authorization });
      answer(response);
    });
  });
  afterEach(async () => {
    await api.stop();
    await directory.remove();
  });

  const azaion = (...args: readonly string[]): Promise<number> =>
    runCommandLine(['legacy', 'register', ...args], {
      stdout: { write: (text: string) => ((stdout += text), (said += text)) },
      stderr: { write: (text: string) => (said += text) },
      stdin: new PassThrough().end(),
      env: { AZAION_PROFILE: at('profile.json') },
      version: '1.2.3',
      signal: new AbortController().signal,
    });

  it.each([
    [201, true],
    [200, false],
  ])(
    'writes the bytes of a %i for the owner alone, and says whether they were made now: %s',
    async (status, created) => {
      giving(status);
      expect(await azaion('images', '--output', at('fragment'), '--json')).toBe(0);
      expect((await readFile(at('fragment'))).equals(FRAGMENT)).toBe(true);
      expect((await stat(at('fragment'))).mode & 0o777).toBe(0o600);
      expect(JSON.parse(stdout)).toEqual({
        ok: true,
        archive: 'images',
        path: at('fragment'),
        bytes: FRAGMENT.length,
        created,
      });
      expect(asked).toEqual([{ method: 'PUT', path: '/binary-split/archives/images', token: 'Bearer a-token' }]);
    },
  );

  it('tells people how the archive is encrypted, and checked', async () => {
    giving(201);
    expect(await azaion('images', '-o', at('fragment'))).toBe(0);
    expect(said).toContain('AES-256-CBC under the SHA-256');
    expect(said).toContain('azaion legacy open-archive');
  });

  it.each<[string, (path: string) => Promise<void>]>([
    ['a file that is there', (path) => writeFile(path, 'an older fragment')],
    ['a link, wherever it leads', (path) => symlink('nowhere', path)],
  ])('asks nothing, and writes nothing, over %s', async (_, make) => {
    await make(at('fragment'));
    const before = await readdir(directory.path);
    expect(await azaion('images', '-o', at('fragment'))).toBe(2);
    expect(said).toContain('is there already');
    expect([asked, await readdir(directory.path)]).toEqual([[], before]);
  });

  it('refuses a name that no archive has before anything is asked', async () => {
    expect(await azaion('../images', '-o', at('fragment'))).toBe(2);
    expect(asked).toEqual([]);
  });

  it.each<[string, () => void, number, string]>([
    ['a page of another server', () => giving(200, '<html>', 'text/html'), 1, 'service.unexpected'],
    ['no byte', () => giving(200, ''), 1, 'service.unexpected'],
    ['more than a fragment has', () => giving(200, Buffer.alloc(65_537)), 1, 'service.unexpected'],
    [
      'a body that breaks off',
      () =>
        (answer = (response) => {
          response.writeHead(201, { 'content-type': BINARY, 'content-length': 32 });
          response.write(FRAGMENT, () => response.socket?.resetAndDestroy());
        }),
      5,
      'service.cut-off',
    ],
    [
      'the name of somebody else’s archive',
      () => giving(409, JSON.stringify({ code: 'archive.of-another', detail: 'No.' }), 'application/problem+json'),
      8,
      'archive.of-another',
    ],
  ])('leaves no file behind after %s', async (_, given, status, code) => {
    given();
    expect(await azaion('images', '-o', at('fragment'), '--json')).toBe(status);
    expect(JSON.parse(stdout)).toMatchObject({ error: { code } });
    expect(await readdir(directory.path)).not.toContain('fragment');
  });

  it.each(['key-fragment.not-found', 'unlock.key-not-found'])('is what the remedy of %s names', (code) => {
    expect(remedyFor(code)).toContain('"azaion legacy register ');
  });
});
