import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { inspect } from 'node:util';

import { type TempDirectory, tempDirectory } from '@azaion/testing';

import { NEW_PASSPHRASE, NEW_PASSWORD, PASSPHRASE, PASSWORD, type PasswordInput, SecretReader } from './password.js';
import { runCommandLine } from './program.js';

class Terminal extends PassThrough {
  readonly isTTY = true;
  readonly rawModes: boolean[] = [];
  setRawMode(raw: boolean): void {
    this.rawModes.push(raw);
  }
}

function piped(text: string): PasswordInput {
  const stream = new PassThrough();
  stream.end(text);
  return stream;
}

/** A terminal at which these keys are pressed. */
function typing(keys: string): Terminal {
  const terminal = new Terminal();
  terminal.write(keys);
  return terminal;
}

let directory: TempDirectory;
let shown: string;
beforeEach(async () => {
  directory = await tempDirectory();
  shown = '';
});
afterEach(() => directory.remove());
const prompt = { write: (text: string) => (shown += text) };

describe('SecretReader', () => {
  const reader = (input: PasswordInput = piped(''), env: NodeJS.ProcessEnv = {}): SecretReader =>
    new SecretReader({ env, input, prompt });

  async function read(input: PasswordInput, env?: NodeJS.ProcessEnv, file?: string): Promise<string> {
    const secret = await reader(input, env).read(PASSWORD, file);
    expect(inspect(secret)).toBe('[redacted]');
    return secret.reveal();
  }

  it('takes the first line of the file before anything else', async () => {
    const file = join(directory.path, 'password');
    await writeFile(file, 'from file\r\nsecond line\n');
    const input = (): PasswordInput => piped('from pipe');
    expect(await read(input(), { AZAION_PASSWORD: 'from variable' }, file)).toBe('from file');
    expect(await read(input(), { AZAION_PASSWORD: 'from variable', AZAION_PASSWORD_FILE: file })).toBe('from file');
  });

  it('takes the variable before standard input', async () => {
    expect(await read(piped('from pipe'), { AZAION_PASSWORD: 'from variable' })).toBe('from variable');
  });

  it.each(['pässword 1', 'pässword 1\n', 'pässword 1\r\nmore\n'])(
    'takes the first line of a pipe: %j',
    async (text) => {
      expect(await read(piped(text))).toBe('pässword 1');
      expect(shown).toBe('');
    },
  );

  it('takes a line of a pipe for each secret, once', async () => {
    const both = reader(piped('old\nnew\n'));
    expect((await both.read(PASSWORD, undefined)).reveal()).toBe('old');
    expect((await both.read(NEW_PASSWORD, undefined)).reveal()).toBe('new');
    await expect(both.read(NEW_PASSWORD, undefined)).rejects.toThrow('The new password is empty.');
  });

  it('lets the program end although a pipe stays open', async () => {
    const held: boolean[] = [];
    const pipe: PasswordInput = Object.assign(new PassThrough(), {
      ref: () => held.push(true),
      unref: () => held.push(false),
    });
    pipe.push('secret\n');
    expect(await read(pipe)).toBe('secret');
    expect(held).toEqual([true, false]);
  });

  it.each(['\r', '\n', '\u0004'])('asks on a terminal without showing what is typed, until %j', async (end) => {
    const terminal = typing(`secrex\u007ft${end}after`);
    expect(await read(terminal)).toBe('secret');
    expect(shown).toBe('Password: \n');
    expect(terminal.rawModes).toEqual([true, false]);
  });

  it('asks twice for what is made, whether the keys come at once or one by one', async () => {
    expect((await reader(typing('secret\rsecret\r')).read(NEW_PASSPHRASE, undefined)).reveal()).toBe('secret');
    expect(shown).toBe('New passphrase: \nNew passphrase, again: \n');
    const terminal = new Terminal();
    const slowly = reader(terminal).read(NEW_PASSPHRASE, undefined);
    for (const key of 'secret\rsecret\r') {
      await new Promise(setImmediate);
      terminal.write(key);
    }
    expect((await slowly).reveal()).toBe('secret');
    expect(terminal.rawModes).toEqual([true, false, true, false]);
  });

  it('refuses what is made when it is typed differently the second time', async () => {
    await expect(reader(typing('secret\rsecert\r')).read(NEW_PASSWORD, undefined)).rejects.toMatchObject({
      exit: 'usage',
      message: 'The new password was not the same both times.',
    });
  });

  it('stops on Ctrl-C and leaves the terminal as it was', async () => {
    const terminal = typing('sec\u0003');
    await expect(read(terminal)).rejects.toMatchObject({ exit: 'interrupted' });
    expect(terminal.rawModes).toEqual([true, false]);
  });

  it.each([
    [PASSWORD, 'password', '--password-file, AZAION_PASSWORD'],
    [NEW_PASSWORD, 'new password', '--new-password-file, AZAION_NEW_PASSWORD'],
    [PASSPHRASE, 'passphrase', '--passphrase-file, AZAION_PASSPHRASE'],
    [NEW_PASSPHRASE, 'new passphrase', '--passphrase-file, AZAION_PASSPHRASE'],
  ])('refuses one that is empty, and says by which way this one comes: %#', async (kind, name, ways) => {
    for (const input of [piped(''), piped('\nsecond'), typing('\r')])
      await expect(reader(input).read(kind, undefined)).rejects.toMatchObject({
        exit: 'usage',
        message: `The ${name} is empty.`,
        next: `Type it at the prompt, or give it with ${ways} or standard input.`,
      });
  });

  it('refuses one that is longer than 1024 characters', async () => {
    expect(await read(piped('x'.repeat(1024)))).toHaveLength(1024);
    for (const text of ['x'.repeat(1025), `${'x'.repeat(1025)}\n`])
      await expect(read(piped(text))).rejects.toMatchObject({
        exit: 'usage',
        message: 'The password is longer than 1024 characters.',
      });
  });

  it('refuses a file that cannot be read, and names what named it', async () => {
    const missing = join(directory.path, 'missing');
    await expect(reader().read(NEW_PASSPHRASE, missing)).rejects.toMatchObject({
      exit: 'usage',
      message: `The file ${missing} with the new passphrase cannot be read.`,
      next: 'Check what --passphrase-file or AZAION_PASSPHRASE_FILE names, and its permissions.',
    });
  });
});

describe('at a terminal', () => {
  const run = (args: readonly string[], keys: string): Promise<number> =>
    runCommandLine(args, {
      stdout: prompt,
      stderr: prompt,
      stdin: typing(keys),
      env: { AZAION_PROFILE: join(directory.path, 'profile.json'), AZAION_API: 'http://127.0.0.1:9' },
      version: '1.2.3',
      signal: new AbortController().signal,
    });

  it.each([
    ['user create a@b.example --role Operator', 'New password', '--new-password-file'],
    ['keys root create -o no/such/directory/root.jwk', 'New passphrase', '--passphrase-file'],
  ])('"azaion %s" asks twice, and knows its own option', async (line, label, option) => {
    expect(await run(line.split(' '), 'a long new secret\ra long new sceret\r')).toBe(2);
    expect(shown).toContain(
      `${label}: \n${label}, again: \nazaion: The n${label.slice(1)} was not the same both times.`,
    );
    shown = '';
    expect(await run(line.split(' '), '\r')).toBe(2);
    expect(shown).toContain(`or give it with ${option}, `);
  });
});
