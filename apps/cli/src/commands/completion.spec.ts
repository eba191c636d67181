import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { promisify } from 'node:util';

import { describeWith, type TempDirectory, tempDirectory } from '@azaion/testing';

import { runCommandLine } from '../program.js';

/** What somebody has typed, and what pressing Tab must make of it. */
const TYPED = [
  ['azaion dev', 'azaion device'],
  ['azaion device prov', 'azaion device provision'],
  ['azaion keys root cr', 'azaion keys root create'],
  ['azaion fetch --fo', 'azaion fetch --force'],
  ['azaion keys sign --vers', 'azaion keys sign --version'],
  ['azaion fetch --loader http://x models/x --forc', 'azaion fetch --loader http://x models/x --force'],
  ['azaion device list --sta', 'azaion device list --status'],
  ['azaion device list --status enr', 'azaion device list --status enrolled'],
  ['azaion publish --kind im', 'azaion publish --kind images'],
  ['azaion user list --role Res', 'azaion user list --role ResourceUploader'],
  ['azaion user create --role Val', 'azaion user create --role Validator'],
  ['azaion user set-role a Oper', 'azaion user set-role a Operator'],
  ['azaion folder set models --read Comp', 'azaion folder set models --read CompanionPC'],
  ['azaion folder set models --add-write Api', 'azaion folder set models --add-write ApiAdmin'],
  ['azaion completion zs', 'azaion completion zsh'],
  // "list" is a command of its own, too: the words before it count.
  ['azaion device list --gr', 'azaion device list --group'],
  ['azaion publish detec', 'azaion publish detector.onnx'],
  ['azaion fetch models/x -o detec', 'azaion fetch models/x -o detector.onnx'],
] as const;

describe('azaion completion', () => {
  let directory: TempDirectory;

  beforeAll(async () => {
    directory = await tempDirectory('azaion-completion');
    await writeFile(join(directory.path, 'detector.onnx'), '');
    for (const shell of ['bash', 'zsh', 'fish']) await writeFile(join(directory.path, shell), await scriptFor(shell));
  });
  afterAll(() => directory.remove());

  async function scriptFor(shell: string): Promise<string> {
    let script = '';
    const stdout = { write: (text: string) => (script += text) };
    const world = { stdout, stderr: stdout, stdin: new PassThrough().end(), env: {}, version: '1.2.3' };
    await runCommandLine(['completion', shell], { ...world, signal: new AbortController().signal });
    return script;
  }

  /** Runs a shell beside the file that is completed. @returns What it printed. */
  async function run(shell: string, ...args: readonly string[]): Promise<string> {
    const env = { PATH: process.env['PATH'], HOME: directory.path, TERM: 'dumb', LC_ALL: 'C.UTF-8' };
    return (await promisify(execFile)(shell, [...args], { cwd: directory.path, env })).stdout;
  }

  it.each(TYPED)('in bash makes of "%s" "%s"', async (typed, completed) => {
    const words = typed.split(' ');
    // What readline does: it calls the function, and falls back to file names.
    const asked = `source ./bash
      COMP_WORDS=(${words.join(' ')}); COMP_CWORD=$(( \${#COMP_WORDS[@]} - 1 )); _azaion
      [ "\${#COMPREPLY[@]}" -gt 0 ] || COMPREPLY=($(compgen -f -- "\${COMP_WORDS[COMP_CWORD]}"))
      echo "\${COMPREPLY[*]}"`;
    const last = await run('bash', '--norc', '-c', asked);
    expect([...words.slice(0, -1), last.trim()].join(' ')).toBe(completed);
  });

  describeWith('shells', 'where there are more shells', () => {
    it.each(TYPED)('in fish makes of "%s" "%s"', async (typed, completed) => {
      const offers = await run('fish', '--no-config', '-c', 'source ./fish; complete -C $argv[1]', typed);
      const words = offers.split('\n').flatMap((line) => (line === '' ? [] : [line.split('\t')[0]]));
      expect(words).toEqual([completed.split(' ').at(-1)]);
    });

    it('in zsh makes the same of all of them, by its own line editor', async () => {
      // A zsh at a terminal of its own; Ctrl-T prints what the line has become.
      const typing = TYPED.map(
        ([typed]) => `zpty -wn z '${typed}'$'\\t\\x14'; zpty -r z line '*<<*>>*'; print -r -- "$line"`,
      );
      const script = [
        'zmodload zsh/zpty',
        "zpty z 'COLUMNS=200 zsh -f -i'",
        "zpty -w z 'PS1=; PS2=; unsetopt zle_bracketed_paste; autoload -Uz compinit; compinit -u -d ./dump; source ./zsh'",
        'zpty -w z \'shown() { print -r -- "<<$BUFFER>>"; BUFFER= }; zle -N shown; bindkey "^T" shown; print rea\'\'dy\'',
        "zpty -r z line '*ready*'",
        ...typing,
        'zpty -d z',
      ].join('\n');
      const shown = [...(await run('zsh', '-fc', script)).matchAll(/<<(.*?)>>/g)].map(([, line = '']) => line.trim());
      expect(shown).toEqual(TYPED.map(([, completed]) => completed));
    });
  });

  it('knows no other shell than those it names', async () => {
    expect(await scriptFor('tcsh')).toContain('bash, zsh, fish');
  });
});
