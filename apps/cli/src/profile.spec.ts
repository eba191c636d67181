import { chmod, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';

import { type TempDirectory, tempDirectory } from '@azaion/testing';

import { type Profile, ProfileFile } from './profile.js';

const PROFILE: Profile = {
  api: 'https://api.example',
  email: 'a@b.example',
  sessions: [
    { issuedBy: { kind: 'api', url: 'https://api.example' }, accessToken: 'at', expiresAt: 1, refreshToken: 'rt' },
    { issuedBy: { kind: 'loader', url: 'https://device.example' }, accessToken: 'at2', expiresAt: 2 },
  ],
};

describe('ProfileFile', () => {
  let directory: TempDirectory;
  let file: ProfileFile;
  beforeEach(async () => {
    directory = await tempDirectory();
    file = new ProfileFile(join(directory.path, 'config', 'azaion', 'profile.json'));
  });
  afterEach(() => directory.remove());

  it('knows nothing when there is none', async () => {
    expect(await file.read()).toEqual({ sessions: [] });
  });

  it('gives back what was written, in a file and a directory that only the owner may read', async () => {
    await file.write(PROFILE);
    expect(await file.read()).toEqual(PROFILE);
    expect((await stat(file.path)).mode & 0o777).toBe(0o600);
    expect((await stat(file.directory)).mode & 0o777).toBe(0o700);
    expect(await readdir(file.directory)).toEqual(['profile.json']);
  });

  it('stays 0600 when it replaces a file', async () => {
    await file.write(PROFILE);
    await file.update(({ api }) => ({ api: `${api ?? ''}/v2`, sessions: [] }));
    expect(await file.read()).toEqual({ api: 'https://api.example/v2', sessions: [] });
    expect((await stat(file.path)).mode & 0o777).toBe(0o600);
  });

  it('loses no change of many that are made at the same time', async () => {
    const addresses = Array.from({ length: 12 }, (_, index) => `https://api-${String(index)}.example`);
    await Promise.all(
      addresses.map((url) =>
        new ProfileFile(file.path).update(async ({ sessions, ...rest }) => {
          await new Promise(setImmediate);
          return {
            ...rest,
            sessions: [...sessions, { issuedBy: { kind: 'api', url }, accessToken: 'at', expiresAt: 1 }],
          };
        }),
      ),
    );
    const { sessions } = await file.read();
    expect(sessions.map(({ issuedBy }) => issuedBy.url).toSorted()).toEqual(addresses.toSorted());
    expect(await readdir(file.directory)).toEqual(['profile.json']);
  });

  it('is left as it is by a change that fails, or changes nothing', async () => {
    await file.write(PROFILE);
    const { mtimeMs } = await stat(file.path);
    await expect(file.update(() => Promise.reject(new Error('no')))).rejects.toThrow('no');
    await file.update((profile) => profile);
    expect([(await stat(file.path)).mtimeMs, await file.read()]).toEqual([mtimeMs, PROFILE]);
  });

  it('takes no token from a file that does not say which service each is for, and does not keep it', async () => {
    await mkdir(file.directory, { recursive: true });
    const session = { issuedBy: 'https://api.example', accessToken: 'unbound', expiresAt: 1 };
    await writeFile(file.path, JSON.stringify({ api: 'https://api.example', session }), { mode: 0o600 });
    expect(await file.read()).toEqual({ api: 'https://api.example', sessions: [] });
    await file.update((profile) => ({ ...profile, email: 'a@b.example' }));
    expect(await readFile(file.path, 'utf8')).not.toContain('unbound');
  });

  it.each([0o640, 0o604, 0o620, 0o644])('is refused when others may touch it (mode %i)', async (mode) => {
    await file.write(PROFILE);
    await chmod(file.path, mode);
    await expect(file.read()).rejects.toMatchObject({ exit: 'forbidden', code: 'profile.exposed' });
  });

  it.each([
    ['nothing', ''],
    ['no JSON', '{'],
    ['a list', '[]'],
    ['null', 'null'],
    ['an API that is no text', '{"api":1}'],
    ['logins that are no list', '{"sessions":{}}'],
    ['a login that says not where', '{"sessions":[{"accessToken":"x","expiresAt":1}]}'],
    ['a login at nothing', '{"sessions":[{"issuedBy":null,"accessToken":"x","expiresAt":1}]}'],
    ['a login at an address alone', '{"sessions":[{"issuedBy":"x","accessToken":"x","expiresAt":1}]}'],
    ['a login at no service', '{"sessions":[{"issuedBy":{"kind":"x","url":"x"},"accessToken":"x","expiresAt":1}]}'],
    [
      'a moment that is no number',
      '{"sessions":[{"issuedBy":{"kind":"api","url":"x"},"accessToken":"x","expiresAt":"1"}]}',
    ],
  ])('is refused when it holds %s, and left as it is', async (_what, text) => {
    await mkdir(file.directory, { recursive: true });
    await writeFile(file.path, text, { mode: 0o600 });
    await expect(file.read()).rejects.toMatchObject({ exit: 'usage', code: 'profile.invalid' });
    expect(await readFile(file.path, 'utf8')).toBe(text);
  });

  it('lies where AZAION_PROFILE says, else under XDG_CONFIG_HOME, else under ~/.config', () => {
    expect(ProfileFile.locate({ AZAION_PROFILE: '/p', XDG_CONFIG_HOME: '/x' }).path).toBe('/p');
    expect(ProfileFile.locate({ AZAION_PROFILE: '', XDG_CONFIG_HOME: '/x' }).path).toBe('/x/azaion/profile.json');
    expect(ProfileFile.locate({}).path).toBe(join(homedir(), '.config/azaion/profile.json'));
  });
});
