import type { Argument, Command, Option } from 'commander';

import { programToRead } from './program.js';

/** An option that more commands than these take in the same words is explained once. */
const FEW_COMMANDS = 5;

/** A command that can be run, by its words: `azaion device list`. */
interface Runnable {
  readonly words: string;
  readonly command: Command;
  readonly options: readonly Row[];
}

/** What is typed, and what it means. */
interface Row {
  readonly typed: string;
  readonly meaning: string;
}

/**
 * All commands with their arguments and options, as Markdown: a table of the options that many commands take, and a section for each family of
 * commands. It stands in docs/reference/cli.md.
 */
export function commandReference(program: Command = programToRead()): string {
  const direct = program.commands.filter((command) => command.commands.length === 0);
  const families = program.commands.filter((command) => command.commands.length > 0);
  const sections = [
    { family: program, members: [program, ...direct].map((command) => runnable(command)) },
    ...families.map((family) => ({ family, members: runnablesOf(family) })),
  ];
  const all = sections.flatMap(({ members }) => members);
  const shared = sharedOptions(all);
  const everywhere = shared.filter(({ takenBy }) => takenBy === all.length);
  const named = shared.filter((row) => !everywhere.includes(row));
  return [
    ['| option | what it does | taken by |', '|---|---|---|'],
    everywhere.map(({ typed, meaning }) => `| ${code(typed)} | ${meaning} | every command |`),
    named.map(({ typed, meaning }) => `| ${code(typed)} | ${meaning} | commands that have it behind their name |`),
    ...sections.map(({ family, members }) => [
      '',
      `### ${code(wordsOf(family))}`,
      ...(family === program ? [] : [prose(family.description()), '']),
      '| command, and its options | what it does |',
      '|---|---|',
      ...members.flatMap((member) => rowsOf(member, everywhere, named)),
    ]),
  ]
    .flat()
    .join('\n');
}

function rowsOf({ words, command, options }: Runnable, everywhere: readonly Row[], named: readonly Row[]): string[] {
  const among = (rows: readonly Row[]) => (option: Row) => rows.some((row) => sameRow(row, option));
  const usage = command.usage().replace(/^\[options\] ?/, '');
  const behind = options.filter(among(named)).map(({ typed }) => ` ${code(typed)}`);
  const own = options.filter((option) => !among([...everywhere, ...named])(option));
  return [
    `| **${code(`${words} ${usage}`.trim())}**${behind.join('')} | ${prose(command.description())} |`,
    ...command.createHelp().visibleArguments(command).map(argumentRow).concat(own).map(asLine),
  ];
}

function runnablesOf(command: Command): readonly Runnable[] {
  return command.commands.length === 0 ? [runnable(command)] : command.commands.flatMap(runnablesOf);
}

function runnable(command: Command): Runnable {
  return { words: wordsOf(command), command, options: command.createHelp().visibleOptions(command).map(optionRow) };
}

function wordsOf(command: Command): string {
  return command.parent === null ? command.name() : `${wordsOf(command.parent)} ${command.name()}`;
}

/** Options that more than a few commands take, and how many do. */
function sharedOptions(commands: readonly Runnable[]): readonly (Row & { readonly takenBy: number })[] {
  const options = commands.flatMap((command) => command.options);
  const first = options.filter((option, at) => options.findIndex((other) => sameRow(option, other)) === at);
  return first
    .map((option) => ({ ...option, takenBy: options.filter((other) => sameRow(option, other)).length }))
    .filter(({ takenBy }) => takenBy > FEW_COMMANDS);
}

function sameRow(one: Row, other: Row): boolean {
  return one.typed === other.typed && one.meaning === other.meaning;
}

function optionRow(option: Option): Row {
  const required = option.mandatory ? ['required'] : [];
  const variable = option.envVar === undefined ? [] : [`variable ${code(option.envVar)}`];
  return { typed: option.flags, meaning: [meaningOf(option), ...required, ...variable].join('; ') };
}

function argumentRow(argument: Argument): Row {
  return { typed: argument.name(), meaning: meaningOf(argument) };
}

function meaningOf({ description, argChoices, defaultValue, defaultValueDescription }: Option | Argument): string {
  const preset =
    defaultValueDescription ?? String((defaultValue as string | number | readonly string[] | undefined) ?? '');
  return [
    prose(description),
    ...(argChoices === undefined ? [] : [`one of ${argChoices.map(code).join(', ')}`]),
    ...(preset === '' ? [] : [`default ${code(preset)}`]),
  ].join('; ');
}

function asLine({ typed, meaning }: Row): string {
  return `| ${code(typed)} | ${meaning} |`;
}

function code(text: string): string {
  return `\`${text.replaceAll('|', '\\|')}\``;
}

function prose(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('<', '&lt;');
}
