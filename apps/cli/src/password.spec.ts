import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { inspect } from 'node:util';

import { type TempDirectory, tempDirectory } from '@azaion/testing';

import { type PasswordInput, readPassword } from './password.js';

class Terminal extends PassThrough {
  readonly isTTY = true;
  readonly rawModes: boolean[] = [];
  setRawMode(raw: boolean): void {
    this.rawModes.push(raw);
  }
}

describe('readPassword', () => {
  let directory: TempDirectory;
  let shown: string;
  beforeEach(async () => {
    directory = await tempDirectory();
    shown = '';
  });
  afterEach(() => directory.remove());

  async function read(given: {
    file?: string | undefined;
    variable?: string | undefined;
    input?: PasswordInput;
  }): Promise<string> {
    const secret = await readPassword({
      file: given.file,
      variable: given.variable,
      input: given.input ?? piped(''),
      prompt: { write: (text: string) => (shown += text) },
    });
    expect(inspect(secret)).toBe('[redacted]');
    return secret.reveal();
  }

  function piped(text: string): PasswordInput {
    const stream = new PassThrough();
    stream.end(text);
    return stream;
  }

  it('takes the first line of the file before anything else', async () => {
    const file = join(directory.path, 'password');
    await writeFile(file, 'from file\r\nsecond line\n');
    expect(await read({ file, variable: 'from variable', input: piped('from pipe') })).toBe('from file');
  });

  it('takes the variable before standard input', async () => {
    expect(await read({ variable: 'from variable', input: piped('from pipe') })).toBe('from variable');
  });

  it.each(['pässword 1', 'pässword 1\n', 'pässword 1\r\nmore\n'])(
    'takes the first line of a pipe: %j',
    async (text) => {
      expect(await read({ input: piped(text) })).toBe('pässword 1');
      expect(shown).toBe('');
    },
  );

  it.each(['\r', '\n', '\u0004'])('asks on a terminal without showing what is typed, until %j', async (end) => {
    const terminal = new Terminal();
    terminal.write(`secrex\u007ft${end}after`);
    expect(await read({ input: terminal })).toBe('secret');
    expect(shown).toBe('Password: \n');
    expect(terminal.rawModes).toEqual([true, false]);
  });

  it('stops on Ctrl-C and leaves the terminal as it was', async () => {
    const terminal = new Terminal();
    terminal.write('sec\u0003');
    await expect(read({ input: terminal })).rejects.toMatchObject({ exit: 'interrupted' });
    expect(terminal.rawModes).toEqual([true, false]);
  });

  it.each([
    ['empty', ''],
    ['an empty first line', '\nsecond'],
    ['longer than 1024 characters', 'x'.repeat(1025)],
  ])('refuses a password that is %s', async (_what, text) => {
    await expect(read({ input: piped(text) })).rejects.toMatchObject({ exit: 'usage' });
  });

  it('refuses a file that cannot be read', async () => {
    await expect(read({ file: join(directory.path, 'missing') })).rejects.toMatchObject({ exit: 'usage' });
  });
});
