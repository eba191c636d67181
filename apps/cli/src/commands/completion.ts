import { type Command } from 'commander';

import { usageFailure } from '../cli-failure.js';
import { type CommandContext } from '../command-context.js';

const SHELLS = ['bash', 'zsh', 'fish'] as const;
type Shell = (typeof SHELLS)[number];

/** The shell of that name. @throws CliFailure exit `usage`. */
export function shellNamed(name: string): Shell {
  const shell = SHELLS.find((known) => known === name);
  if (shell === undefined)
    throw usageFailure(`There is no completion for "${name}".`, `Choose one of ${SHELLS.join(', ')}.`);
  return shell;
}

/** Prints a script that completes commands and options, for the shell to read at its start. */
export function completion(context: CommandContext, tree: Command, shell: Shell): void {
  const words = wordsOf(tree);
  const script = shell === 'fish' ? fish(words) : bash(words, shell === 'zsh');
  context.output.result({ shell, script }, [script]);
}

interface Words {
  /** `device list`; empty for the command itself. */
  readonly path: string;
  readonly next: readonly string[];
}

function wordsOf(command: Command, path = ''): readonly Words[] {
  const children = command.commands.map((child) => child.name());
  const options = command.options.flatMap(({ long }) => (typeof long === 'string' ? [long] : []));
  return [
    { path, next: [...children, ...options, '--help'] },
    ...command.commands.flatMap((child) => wordsOf(child, `${path} ${child.name()}`.trim())),
  ];
}

function bash(words: readonly Words[], zsh: boolean): string {
  return [
    ...(zsh ? ['autoload -U +X bashcompinit && bashcompinit'] : []),
    '_azaion() {',
    '  local path="" word at=1',
    '  while [ "$at" -lt "$COMP_CWORD" ]; do',
    '    word="${COMP_WORDS[$at]}"',
    '    case "$word" in -*) break ;; esac',
    '    path="${path:+$path }$word"',
    '    at=$((at + 1))',
    '  done',
    '  local next=""',
    '  case "$path" in',
    ...words.map(({ path, next }) => `    "${path}") next="${next.join(' ')}" ;;`),
    ...words
      .filter(({ path, next }) => path !== '' && next.every((word) => word.startsWith('-')))
      .map(({ path, next }) => `    "${path} "*) next="${next.join(' ')}" ;;`),
    '  esac',
    '  COMPREPLY=($(compgen -W "$next" -- "${COMP_WORDS[$COMP_CWORD]}"))',
    '  [ "${#COMPREPLY[@]}" -gt 0 ] || COMPREPLY=($(compgen -f -- "${COMP_WORDS[$COMP_CWORD]}"))',
    '}',
    'complete -F _azaion azaion',
  ].join('\n');
}

function fish(words: readonly Words[]): string {
  return words
    .map(({ path, next }) => {
      const seen =
        path === ''
          ? '__fish_use_subcommand'
          : path
              .split(' ')
              .map((word) => `__fish_seen_subcommand_from ${word}`)
              .join('; and ');
      return `complete -c azaion -n '${seen}' -a '${next.join(' ')}'`;
    })
    .join('\n');
}
