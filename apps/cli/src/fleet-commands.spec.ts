import { PassThrough } from 'node:stream';

import { ROLES, WORKING_ROLES } from '@azaion/identity';
import { type TempDirectory, tempDirectory } from '@azaion/testing';

import { runCommandLine } from './program.js';

describe('commands of the fleet', () => {
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
    ['a directory that is not there', ['device', 'provision', '/no/such/root']],
    ['a serial in capitals', ['device', 'provision', '.', '--serial', 'AZJ-1']],
    ['an owner by name', ['device', 'provision', '.', '--owner', 'root']],
    ['a path that is not of a file', ['device', 'provision', '.', '--path', '/etc/']],
    ['a device address without https', ['device', 'provision', '.', '--device-api', 'http://far.example']],
    ['an unknown status', ['device', 'list', '--status', 'lost']],
    ['neither group nor device', ['desired', 'show']],
    ['both group and device', ['desired', 'show', '--group', 'a', '--device', 'b']],
    ['nothing to set', ['desired', 'set', '--group', 'a']],
    ['nothing to unset', ['desired', 'unset', '--group', 'a']],
    ['a priority of a device', ['desired', 'set', '--device', 'a', '--priority', '1']],
    ['a version that is none', ['desired', 'set', '--group', 'a', 'models/x@0']],
    ['two versions', ['desired', 'set', '--group', 'a', 'models/x@1@2']],
    ['a priority that is no number', ['group', 'create', 'a', '--priority', 'high']],
    ['no serial', ['group', 'add', 'a']],
    ['a role that does not exist', ['user', 'create', 'a@b.example', '--role', 'Root']],
    ['an account without a role', ['user', 'create', 'a@b.example']],
    ['another role that does not exist', ['user', 'set-role', 'a@b.example', 'Root']],
    ['rights for nobody', ['folder', 'set', 'models', '--read', 'None']],
    ['no change of a folder', ['folder', 'set', 'models']],
    ['a folder that cannot be', ['folder', 'show', '../etc']],
    ['a lease that is no number', ['folder', 'set', 'models', '--lease-days', 'long']],
    ['a quota that is no number', ['folder', 'set', 'models', '--quota', '1GB']],
    ['no events', ['audit', 'list', '--limit', '0']],
  ])('refuse %s before anything is asked', async (_, args) => {
    expect({ status: await run(args), said }).toMatchObject({ status: 2 });
  });

  it.each([
    ['user', 'list', '--role', 'Root'],
    ['user', 'create', 'a@b.example', '--role', 'Root'],
    ['user', 'set-role', 'a@b.example', 'Root'],
  ])('"%s %s" names all roles where one is not known', async (...args) => {
    expect(await run(args)).toBe(2);
    expect(said).toContain(Object.keys(ROLES).join(', '));
  });

  it.each(['--read', '--add-read', '--write', '--add-write'])(
    '"folder set %s" names the roles that can be given rights',
    async (option) => {
      expect(await run(['folder', 'set', 'models', option, 'Operator', 'None'])).toBe(2);
      expect(said).toContain(WORKING_ROLES.join(', '));
      expect(said).not.toContain('None,');
    },
  );

  it.each([
    ['device', 'list'],
    ['device', 'show', 'azj-0000'],
    ['device', 'revoke', 'azj-0000'],
    ['device', 'reset', 'azj-0000'],
    ['group', 'list'],
    ['desired', 'show', '--group', 'all'],
    ['user', 'list'],
    ['user', 'disable', 'a@b.example'],
    ['folder', 'show', 'models'],
    ['audit', 'list'],
    ['audit', 'verify'],
  ])('"%s %s" says that nobody is logged in', async (...args) => {
    expect(await run(args.filter((arg) => typeof arg === 'string'))).toBe(3);
    expect(said).toContain('cli.not-logged-in');
  });
});
