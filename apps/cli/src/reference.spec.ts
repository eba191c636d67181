import { globSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { PassThrough } from 'node:stream';

import { Command, Option } from 'commander';

import { commandReference } from './command-reference.js';
import { EXIT_CODES } from './exit-codes.js';
import { runCommandLine } from './program.js';

const WORKSPACE = fileURLToPath(new URL('../../../', import.meta.url));
const reference = readFileSync(`${WORKSPACE}docs/reference/cli.md`, 'utf8');

/** A command or a family of them, and what its help says. */
interface Help {
  readonly options: readonly string[];
  readonly children: readonly string[];
}

/** Every command by its words, found by asking for help. */
async function commandTree(path = '', known = new Map<string, Help>()): Promise<Map<string, Help>> {
  const help = await helpOf(path);
  const [list = ''] = /^Commands:\n(?: .*\n)+/m.exec(help) ?? [];
  const [options = ''] = /^Options:\n(?: .*\n)+/m.exec(help) ?? [];
  const children = [...list.matchAll(/^ {2}([a-z-]+)/gm)]
    .map(([, name = '']) => name)
    .filter((name) => name !== 'help');
  known.set(path, {
    options: [...options.matchAll(/^ +(?:(-\w), )?(--[a-z0-9-]+)/gm)].flatMap(([, short, long = '']) =>
      short === undefined ? [long] : [short, long],
    ),
    children,
  });
  for (const name of children) await commandTree(`${path} ${name}`.trim(), known);
  return known;
}

async function helpOf(path: string): Promise<string> {
  let text = '';
  const stdout = { write: (part: string) => (text += part) };
  const world = { stdout, stderr: stdout, stdin: new PassThrough().end(), env: {}, version: '1.2.3' };
  const words = path === '' ? [] : path.split(' ');
  await runCommandLine([...words, '--help'], { ...world, signal: new AbortController().signal });
  return text;
}

/** The command lines of `azaion` in a page: in its shell blocks, and where its sentences quote one. */
function commandLines(page: string): readonly string[] {
  const joined = page.replaceAll(/\\\n\s*/g, ' ');
  const blocks = [...joined.matchAll(/^ *```(?:sh|console)\n([^]*?)^ *```/gm)].map(([, text = '']) => text);
  const quoted = [...joined.replaceAll(/^ *```[^]*?^ *```/gm, '').matchAll(/`((?:npx )?azaion [^`\n]*)`/g)];
  return [...blocks, ...quoted.map(([, text = '']) => text)].flatMap((text) =>
    [...text.matchAll(/(?:^|(?<!--[a-z]+)[\s(;|&])azaion +([a-z-][^|;&>#)\n]*)/gm)].map(([, line = '']) => line.trim()),
  );
}

/** What is wrong with a command line, in words. */
function faultOf(line: string, tree: ReadonlyMap<string, Help>): string | undefined {
  const words = line.replaceAll(/[[\]"']/g, ' ').split(/\s+/);
  let path = '';
  for (const word of words) {
    const longer = `${path} ${word}`.trim();
    if (!tree.has(longer)) break;
    path = longer;
  }
  const { options, children } = tree.get(path) ?? { options: [], children: [] };
  const next = words[path === '' ? 0 : path.split(' ').length];
  if (children.length > 0 && next !== undefined && !next.startsWith('-') && next !== 'COMMAND')
    return `no command ${next}`;
  const unknown = words.filter((word) => /^--?[a-z]/.test(word) && !options.includes(word.split('=')[0] ?? ''));
  return unknown.length === 0 ? undefined : `no option ${unknown.join(', ')}`;
}

let tree: ReadonlyMap<string, Help>;
beforeAll(async () => (tree = await commandTree()));

describe('docs/reference/cli.md', () => {
  const [block = '', made] = /<!-- commands: .*-->\n([^]*?)\n<!-- end of commands -->/.exec(reference) ?? [];

  it('has the commands that the program has (npm run docs)', () => {
    expect(made).toBe(commandReference());
  });

  it('says every option of each command that its help says, and no others', () => {
    const everywhere = [...block.matchAll(/^\| `(?:-\w, )?(--[a-z]+)` .* every command \|$/gm)].map(([, name]) => name);
    const told = block.split(/^\| \*\*(?=`azaion)/m).map((text) => {
      const [words = ''] = /(?<=^`azaion ?)[a-z -]*(?=[ `])/.exec(text) ?? [];
      const [rows = ''] = text.split('\n\n');
      const names = [...rows.matchAll(/(?:^\| |\*\* )`(?:-\w, )?(--[a-z0-9-]+)/gm)].map(([, name]) => name);
      return [words.trim(), [...names, ...everywhere].toSorted()] as const;
    });
    const known = [...tree].flatMap(([path, { options, children }]) =>
      path === '' || children.length === 0
        ? [[path, options.filter((option) => option.startsWith('--')).toSorted()] as const]
        : [],
    );
    expect(known.length).toBeGreaterThan(50);
    expect(Object.fromEntries(told.slice(1))).toEqual(Object.fromEntries(known));
  });

  it('names in its own words no option that the commands of the row do not have', () => {
    const rows = reference.replace(block, '').matchAll(/^\| (`azaion [^|]*) \| (.*) \|$/gm);
    const faults = [...rows].flatMap(([, commands = '', text = '']) => {
      const paths = [...commands.matchAll(/`azaion ([a-z -]+)`/g)].map(([, path = '']) => path);
      const options = paths.flatMap((path) => tree.get(path)?.options ?? [`no command ${path}`]);
      const named = [...text.matchAll(/[`[ ](--[a-z0-9-]+)/g)].map(([, name = '']) => name);
      return [...named.filter((name) => !options.includes(name)), ...options.filter((name) => name.startsWith('no '))];
    });
    expect(faults).toEqual([]);
  });

  it('says what each exit status means, as the help does', () => {
    const rows = [...reference.matchAll(/^\| (\d+) \| (.+) \|$/gm)].map(([, status, meaning]) => [
      Number(status),
      meaning,
    ]);
    expect(rows).toEqual(Object.values(EXIT_CODES).map(({ status, meaning }) => [status, meaning]));
  });
});

describe('commandReference', () => {
  const taking = (option: Option): string =>
    commandReference(new Command('azaion').addCommand(new Command('try').addOption(option)));

  it.each([
    [new Option('--as <role>', 'a role').choices(['Admin', 'None']), 'a role; one of `Admin`, `None`'],
    [new Option('--as <role>', 'a role').default('Admin'), 'a role; default `Admin`'],
    [new Option('--as <role>', 'a role').default(7, 'that of the day'), 'a role; default `that of the day`'],
    [new Option('--as <role>', 'a role').env('AZAION_ROLE'), 'a role; variable `AZAION_ROLE`'],
    [new Option('--as <role>', 'a role').makeOptionMandatory(), 'a role; required'],
    [new Option('--as <role>', 'a <role>, none|one'), String.raw`a &lt;role>, none\|one`],
  ])('says what an option takes: %#', (option, meaning) => {
    expect(taking(option)).toContain(`| **\`azaion try\`** |  |\n| \`--as <role>\` | ${meaning} |`);
  });

  it('leaves out what the help does', () => {
    expect(taking(new Option('--as <role>', 'a role').hideHelp())).not.toContain('--as');
  });
});

describe('every command line of the documents', () => {
  const pages = ['README.md', 'CONTRIBUTING.md', 'SECURITY.md', ...globSync('docs/**/*.md', { cwd: WORKSPACE })];
  const lines = pages.flatMap((page) =>
    commandLines(readFileSync(`${WORKSPACE}${page}`, 'utf8')).map((line) => ({ page, line })),
  );

  it('names a command that there is, with options that it has', () => {
    expect(lines.length).toBeGreaterThan(150);
    const faults = lines.flatMap(({ page, line }) => {
      const fault = faultOf(line, tree);
      return fault === undefined ? [] : [`${page}: azaion ${line}: ${fault}`];
    });
    expect(faults).toEqual([]);
  });

  it.each([
    ['device lsit', 'no command lsit'],
    ['nonsense', 'no command nonsense'],
    ['keys root make -o x', 'no command make'],
    ['fetch models/x --output-file y', 'no option --output-file'],
    ['publish x --force', 'no option --force'],
    ['device list -o x', 'no option -o'],
  ])('would be found out: azaion %s', (line, fault) => {
    expect(faultOf(line, tree)).toBe(fault);
  });
});

describe('every remedy', () => {
  it('names commands that there are, with options that they have', () => {
    const sources = globSync('apps/cli/src/**/*.ts', { cwd: WORKSPACE }).filter((path) => !path.includes('.spec.'));
    const quoted = sources.flatMap((path) =>
      [...readFileSync(`${WORKSPACE}${path}`, 'utf8').matchAll(/"azaion ([a-z][^"$]*)"/g)].map(([, line = '']) => line),
    );
    expect(quoted.length).toBeGreaterThan(30);
    expect(quoted.flatMap((line) => faultOf(line, tree) ?? [])).toEqual([]);
  });
});
