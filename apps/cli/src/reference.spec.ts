import { readFileSync } from 'node:fs';
import { PassThrough } from 'node:stream';

import { EXIT_CODES } from './exit-codes.js';
import { runCommandLine } from './program.js';

const reference = readFileSync(new URL('../../../docs/reference/cli.md', import.meta.url), 'utf8');

describe('docs/reference/cli.md', () => {
  async function helpOf(command: string): Promise<string> {
    let text = '';
    const stdout = { write: (part: string) => (text += part) };
    const world = { stdout, stderr: stdout, stdin: new PassThrough().end(), env: {}, version: '1.2.3' };
    await runCommandLine([...command.split(' '), '--help'], { ...world, signal: new AbortController().signal });
    return text;
  }

  /** Every command that does something, found by asking for help. */
  async function commands(parent = ''): Promise<readonly string[]> {
    const [list = ''] = /^Commands:\n(?: .*\n)+/m.exec(await helpOf(`${parent} `.trimStart() + '--help')) ?? [];
    const names = [...list.matchAll(/^ {2}([a-z-]+)/gm)].map(([, name]) => `${parent} ${name ?? ''}`.trim());
    const found = names.filter((name) => !/(?:^| )help$/.test(name)).map((name) => commands(name));
    return found.length === 0 ? [parent] : (await Promise.all(found)).flat();
  }

  it('knows every option of the commands, and no others', async () => {
    const known = (await Promise.all((await commands()).map(helpOf))).flatMap((help) => {
      const [options = ''] = /^Options:\n(?: .*\n)+/m.exec(help) ?? [];
      return [...options.matchAll(/^ +(?:-\w, )?(--[a-z0-9-]+)/gm)].map(([, name]) => name);
    });
    const told = [...reference.matchAll(/[`[ ](--[a-z0-9-]+)/g)].map(([, name]) => name);
    expect([...new Set(told)].toSorted()).toEqual([...new Set(known)].toSorted());
  });

  it('says what each exit status means, as the help does', () => {
    const rows = [...reference.matchAll(/^\| (\d+) \| (.+) \|$/gm)].map(([, status, meaning]) => [
      Number(status),
      meaning,
    ]);
    expect(rows).toEqual(Object.values(EXIT_CODES).map(({ status, meaning }) => [status, meaning]));
  });

  it('knows every command', async () => {
    const known = await commands();
    expect(known).toEqual(expect.arrayContaining(['login', 'device provision', 'legacy open-archive']));
    for (const name of known) expect(reference).toContain(`\`azaion ${name}`);
  });
});
