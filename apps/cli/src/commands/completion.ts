import type { Command, Option } from 'commander';

import type { CommandContext } from '../command-context.js';

/** The shells that a script is made for. */
export const SHELLS = ['bash', 'zsh', 'fish'] as const;
/** One of them. */
export type Shell = (typeof SHELLS)[number];

/** Prints a script that completes commands, options and their values, for the shell to read at its start. */
export function completion(context: CommandContext, tree: Command, shell: Shell): void {
  const script = { bash, zsh, fish }[shell](placesOf(tree)).join('\n');
  context.output.result({ shell, script }, [script]);
}

/** What can follow the words of a command. */
interface Place {
  /** `device list`; empty for `azaion` itself. */
  readonly path: string;
  /** Subcommands, or what an argument may be. */
  readonly words: readonly Word[];
  readonly options: readonly OptionWord[];
}

interface Word {
  readonly word: string;
  readonly does: string;
}

interface OptionWord extends Word {
  /** `-o`. */
  readonly short: string | undefined;
  readonly takesValue: boolean;
  /** The only values it takes; none: anything, for instance a file. */
  readonly values: readonly string[];
}

const HELP: OptionWord = { word: '--help', short: '-h', does: 'show help', takesValue: false, values: [] };

function placesOf(command: Command, path = ''): readonly Place[] {
  const place: Place = {
    path,
    words: [
      ...command.commands.map((child) => ({ word: child.name(), does: child.description() })),
      ...command.registeredArguments.flatMap(({ argChoices = [], description }) =>
        argChoices.map((word) => ({ word, does: description })),
      ),
    ],
    options: [...command.options.flatMap(optionWord), HELP],
  };
  return [place, ...command.commands.flatMap((child) => placesOf(child, `${path} ${child.name()}`.trim()))];
}

function optionWord({ long, short, description, required, optional, argChoices = [] }: Option): readonly OptionWord[] {
  if (typeof long !== 'string') return [];
  return [{ word: long, short, does: description, takesValue: required || optional, values: argChoices }];
}

/** Words of a line are options, their values, arguments, and those of a known path: these alone say where in the tree it is. */
function knownPaths(places: readonly Place[]): string {
  return `|${places.map(({ path }) => path).join('|')}|`;
}

/** The values of options as branches of a shell's `case`, by path and option. @param offer - What a branch does with them. */
function valueBranches(places: readonly Place[], offer: (values: readonly string[]) => string): readonly string[] {
  return places.flatMap(({ path, options }) =>
    options
      .filter(({ takesValue }) => takesValue)
      .map(({ word, short, values }) => {
        const spellings = [word, short].flatMap((one) => (one === undefined ? [] : [`'${`${path} ${one}`.trim()}'`]));
        return `    ${spellings.join('|')}) ${offer(values)} ;;`;
      }),
  );
}

/** Where no value is due: options after a dash, else words. @param begun - The variable of the shell that holds what was begun. */
function wordBranches(
  places: readonly Place[],
  begun: string,
  branch: (path: string, words: readonly Word[]) => string,
): readonly string[] {
  return [
    `    *) case "${begun}" in`,
    '    -*) case "$said" in',
    ...places.map(({ path, options }) => branch(path, options)),
    '    esac ;;',
    '    *) case "$said" in',
    ...places.filter(({ words }) => words.length > 0).map(({ path, words }) => branch(path, words)),
    '    esac ;;',
    '    esac ;;',
  ];
}

function bash(places: readonly Place[]): readonly string[] {
  const list = (words: readonly string[]): string => `offers='${words.join(' ')}'`;
  const branch = (path: string, words: readonly Word[]): string =>
    `      '${path}') ${list(words.map(({ word }) => word))} ;;`;
  return [
    '_azaion() {',
    `  local known='${knownPaths(places)}' said='' offers='' at word`,
    '  local begun="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD - 1]}"',
    '  for ((at = 1; at < COMP_CWORD; at++)); do',
    '    word="${said:+$said }${COMP_WORDS[at]}"',
    '    case "$known" in *"|$word|"*) said="$word" ;; esac',
    '  done',
    '  case "$said $before" in',
    ...valueBranches(places, list),
    ...wordBranches(places, '$begun', branch),
    '  esac',
    '  COMPREPLY=($(compgen -W "$offers" -- "$begun"))',
    '}',
    'complete -o default -F _azaion azaion',
  ];
}

function zsh(places: readonly Place[]): readonly string[] {
  const list = (words: readonly string[]): string => `offers=(${words.join(' ')})`;
  const branch = (path: string, words: readonly Word[]): string => {
    const described = words.map(({ word, does }) => quoted(`${word}:${does.replaceAll(':', '\\:')}`, `'\\''`));
    return `      '${path}') ${list(described)} ;;`;
  };
  return [
    '#compdef azaion',
    '_azaion() {',
    `  local known='${knownPaths(places)}' said='' word`,
    '  local -a offers',
    '  for word in "${(@)words[2,CURRENT-1]}"; do',
    '    word="${said:+$said }$word"',
    '    case "$known" in *"|$word|"*) said="$word" ;; esac',
    '  done',
    '  case "$said ${words[CURRENT-1]}" in',
    ...valueBranches(places, list),
    ...wordBranches(places, '$PREFIX', branch),
    '  esac',
    '  if (( $#offers )); then _describe azaion offers; else _files; fi',
    '}',
    'compdef _azaion azaion',
  ];
}

function fish(places: readonly Place[]): readonly string[] {
  const text = (words: string): string => quoted(words.replaceAll('\\', '\\\\'), "\\'");
  const offered = places.flatMap(({ path, words, options }) => {
    const here = `complete -c azaion -n ${text(`__azaion_at ${text(path)}`)}`;
    return [
      ...words.map(({ word, does }) => `${here} -f -a ${word} -d ${text(does)}`),
      ...options.map(({ word, short, does, takesValue, values }) =>
        [
          `${here} -l ${word.slice(2)}`,
          ...(short === undefined ? [] : [`-s ${short.slice(1)}`]),
          ...(values.length > 0 ? [`-x -a ${text(values.join(' '))}`] : takesValue ? ['-r'] : []),
          `-d ${text(does)}`,
        ].join(' '),
      ),
    ];
  });
  return [
    'function __azaion_at',
    `  set -l known ${places.map(({ path }) => text(path)).join(' ')}`,
    '  set -l said',
    '  for word in (commandline -opc)[2..-1]',
    "    set -l longer (string join ' ' $said $word)",
    '    contains -- $longer $known; and set said $longer',
    '  end',
    '  test "$said" = "$argv[1]"',
    'end',
    ...offered,
  ];
}

/** Text between single quotes. @param quote - How the shell writes one in there. */
function quoted(text: string, quote: string): string {
  return `'${text.replaceAll("'", quote)}'`;
}
