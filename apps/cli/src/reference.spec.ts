import { readFileSync } from 'node:fs';
import { PassThrough } from 'node:stream';

import { runCommandLine } from './program.js';

const reference = readFileSync(new URL('../../../docs/reference/cli.md', import.meta.url), 'utf8');
const COMMANDS = ['login', 'logout', 'publish', 'fetch', 'unlock', 'status', 'legacy open', 'legacy open-archive'];

describe('docs/reference/cli.md', () => {
  async function helpOf(command: string): Promise<string> {
    let text = '';
    const stdout = { write: (part: string) => (text += part) };
    const world = { stdout, stderr: stdout, stdin: new PassThrough().end(), env: {}, version: '1.2.3' };
    await runCommandLine([...command.split(' '), '--help'], { ...world, signal: new AbortController().signal });
    return text;
  }

  it('knows every option of the commands, and no others', async () => {
    const known = (await Promise.all(COMMANDS.map(helpOf))).flatMap((help) => {
      const [options = ''] = /^Options:\n(?: .*\n)+/m.exec(help) ?? [];
      return [...options.matchAll(/^ +(?:-\w, )?(--[a-z0-9-]+)/gm)].map(([, name]) => name);
    });
    const told = [...reference.matchAll(/[`[ ](--[a-z0-9-]+)/g)].map(([, name]) => name);
    expect([...new Set(told)].toSorted()).toEqual([...new Set(known)].toSorted());
  });

  it('knows every command', async () => {
    for (const parent of ['', 'legacy']) {
      const [commands = ''] = /^Commands:\n(?: .*\n)+/m.exec(await helpOf(parent === '' ? '--help' : parent)) ?? [];
      const names = [...commands.matchAll(/^ {2}([a-z-]+)/gm)].map(([, name]) => `${parent} ${name ?? ''}`.trim());
      expect(names.length).toBeGreaterThan(1);
      for (const name of names.filter((one) => !/(?:^| )help$|^legacy$/.test(one))) {
        expect(COMMANDS).toContain(name);
        expect(reference).toContain(`\`azaion ${name}`);
      }
    }
  });
});
