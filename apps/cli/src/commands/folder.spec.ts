import type { IncomingMessage, ServerResponse } from 'node:http';
import { join } from 'node:path';
import { json } from 'node:stream/consumers';
import { PassThrough } from 'node:stream';

import { defaultFolderPolicy } from '@azaion/identity';
import { type TempDirectory, tempDirectory } from '@azaion/testing';

import { runCommandLine } from '../program.js';
import { remedyFor } from '../remedies.js';
import { type LoggedInApi, startLoggedInApi } from '../testing/logged-in-api.js';

describe('azaion folder set', () => {
  let directory: TempDirectory;
  let api: LoggedInApi;
  /** What the Admin API holds: it takes what it is sent for the whole of it. */
  let rules: Readonly<Record<string, unknown>>;

  beforeEach(async () => {
    const { quotaBytes, ...standard } = defaultFolderPolicy('models');
    rules = { ...standard, read: ['Operator', 'CompanionPC'], write: ['ApiAdmin'], quotaBytes: quotaBytes ?? null };
    directory = await tempDirectory();
    const answered = async (request: IncomingMessage, answer: ServerResponse): Promise<void> => {
      if (request.method === 'PUT') rules = (await json(request)) as typeof rules;
      answer.setHeader('content-type', 'application/json').end(JSON.stringify({ folder: 'models', ...rules }));
    };
    const profile = join(directory.path, 'profile.json');
    api = await startLoggedInApi(profile, (request, answer) => void answered(request, answer));
  });
  afterEach(async () => {
    await api.stop();
    await directory.remove();
  });

  const run = (...args: readonly string[]): Promise<number> =>
    runCommandLine(['folder', 'set', 'models', ...args], {
      stdout: { write: () => undefined },
      stderr: { write: () => undefined },
      stdin: new PassThrough().end(),
      env: { AZAION_PROFILE: join(directory.path, 'profile.json') },
      version: '1.2.3',
      signal: new AbortController().signal,
    });

  it('gives a right to further roles, and takes it from nobody', async () => {
    expect(await run('--add-read', 'Validator', 'Operator', '--add-write', 'ResourceUploader')).toBe(0);
    expect(rules).toMatchObject({
      read: ['Operator', 'CompanionPC', 'Validator'],
      write: ['ApiAdmin', 'ResourceUploader'],
    });
  });

  it('does what the remedy of folder.forbidden says, and takes the right from nobody', async () => {
    const [, options] = /"azaion folder set FOLDER (.*?)"/.exec(remedyFor('folder.forbidden') ?? '') ?? [];
    expect(await run(...(options ?? '').replace('ROLE', 'Validator').split(' '))).toBe(0);
    expect(rules['read']).toEqual(['Operator', 'CompanionPC', 'Validator']);
  });

  it('replaces the whole list with --read and --write', async () => {
    expect(await run('--read', 'Validator', '--write', 'Validator')).toBe(0);
    expect(rules).toMatchObject({ read: ['Validator'], write: ['Validator'] });
  });

  it.each([
    ['--read', '--add-read'],
    ['--write', '--add-write'],
  ])('refuses %s beside %s: they contradict each other', async (replacing, adding) => {
    const before = rules;
    expect(await run(replacing, 'Validator', adding, 'Operator')).toBe(2);
    expect(rules).toBe(before);
  });
});
