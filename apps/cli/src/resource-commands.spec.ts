import { PassThrough } from 'node:stream';

import { type TempDirectory, tempDirectory } from '@azaion/testing';

import { runCommandLine } from './program.js';

describe('commands on resources', () => {
  let directory: TempDirectory;
  let said: string;
  beforeEach(async () => {
    directory = await tempDirectory();
    said = '';
  });
  afterEach(() => directory.remove());

  function run(args: readonly string[]): Promise<number> {
    const sink = { write: (text: string) => (said += text) };
    return runCommandLine([...args, '--api', 'http://127.0.0.1:9'], {
      stdout: sink,
      stderr: sink,
      stdin: new PassThrough().end(),
      env: { AZAION_PROFILE: `${directory.path}/profile.json` },
      version: '1.2.3',
      signal: new AbortController().signal,
    });
  }

  it.each([
    ['a resource without a folder', ['promote', 'detector@1']],
    ['a version that is none', ['withdraw', 'models/detector@0']],
    ['no certain version', ['withdraw', 'models/detector']],
    ['the newest version, whichever that is', ['promote', 'models/detector@latest']],
    ['a version that is no number', ['pin', 'models/detector@newest']],
    ['neither a version nor --remove', ['pin', 'models/detector']],
    ['both a version and --remove', ['pin', 'models/detector@1', '--remove']],
    ['a name with three parts', ['list', 'a/b/c']],
  ])('refuse %s before anything is asked', async (_, args) => {
    expect({ status: await run(args), said }).toMatchObject({ status: 2 });
  });

  it.each([
    ['list'],
    ['list', 'models'],
    ['list', 'models/detector'],
    ['promote', 'models/detector@1'],
    ['withdraw', 'models/detector@1'],
    ['pin', 'models/detector@1'],
    ['pin', 'models/detector', '--remove'],
    ['folder', 'rotate-dedup-key', 'models'],
  ])('"%s %s" says that nobody is logged in', async (...args) => {
    expect(await run(args.filter((arg) => typeof arg === 'string'))).toBe(3);
    expect(said).toContain('cli.not-logged-in');
  });
});
