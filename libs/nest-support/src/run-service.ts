import { readFile } from 'node:fs/promises';
import { relative } from 'node:path';

import { ConfigError, type Environment, printConfig } from './config.js';

/** What a service brings along to be started from a command line. */
export interface ServiceProgram<Config extends object> {
  /** Named in messages: `The Loader cannot start: …`. */
  readonly name: string;
  /** One sentence on where its settings are described. */
  readonly settings: string;
  /** Its package.json, for the version. */
  readonly manifest: URL;
  /** @throws ConfigError. */
  readonly readConfig: (env: Environment) => Config;
  /** Listens; returns once it does. @throws Error in a plain sentence. */
  readonly serve: (config: Config, version: string) => Promise<void>;
  /** What it can do instead of serving. */
  readonly commands?: readonly ServiceCommand<Config>[];
}

/** Something a service does once, with its own configuration, and ends. */
export interface ServiceCommand<Config extends object> {
  /** The whole command line, with one space between words. */
  readonly words: string;
  /** One line of help. */
  readonly summary: string;
  /** Prints its result itself. @returns The exit code. @throws Error in a plain sentence. */
  readonly run: (config: Config) => Promise<number>;
}

const PRINT_CONFIG = '--print-config';

/** The process a program speaks to. */
export interface ProgramHost {
  /** File that was started, as a person types it. */
  readonly script: string;
  readonly args: readonly string[];
  readonly env: Environment;
  readonly print: (text: string) => void;
  readonly complain: (text: string) => void;
}

/** This process. */
export function thisProcess(): ProgramHost {
  const [, script = ''] = process.argv;
  const below = relative(process.cwd(), script);
  return {
    script: below.startsWith('..') ? script : below,
    args: process.argv.slice(2),
    env: process.env,
    print: (text) => void process.stdout.write(text),
    complain: (text) => void process.stderr.write(text),
  };
}

/**
 * Runs a service: its command line, its configuration, its start.
 *
 * @returns The exit code: 0 (for a service: it runs on), 1 when it could not be done, 2 when the command line or the configuration cannot be used;
 *   a command has its own.
 */
export async function runService<Config extends object>(
  program: ServiceProgram<Config>,
  host: ProgramHost,
): Promise<number> {
  const words = host.args.join(' ');
  if (host.args.includes('--help')) {
    host.print(usage(program, host));
    return 0;
  }
  const command = program.commands?.find((one) => one.words === words);
  if (command === undefined && host.args.length > 0 && words !== PRINT_CONFIG) {
    host.complain(usage(program, host));
    return 2;
  }
  let config: Config;
  try {
    config = program.readConfig(host.env);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    host.complain(`${error.message}\n`);
    return 2;
  }
  if (words === PRINT_CONFIG) {
    host.print(`${printConfig(config)}\n`);
    return 0;
  }
  try {
    if (command !== undefined) return await command.run(config);
    await program.serve(config, await releaseVersion(program.manifest));
    return 0;
  } catch (error) {
    const what = command === undefined ? 'cannot start' : `could not do "${words}"`;
    host.complain(`The ${program.name} ${what}: ${error instanceof Error ? error.message : 'unknown reason'}\n`);
    return 1;
  }
}

function usage<Config extends object>(
  { settings, commands = [] }: ServiceProgram<Config>,
  { script }: ProgramHost,
): string {
  const own = commands.map(({ words, summary }) => `  ${words.padEnd(24)} ${summary}`);
  const lines = [
    `Usage: node ${script} [${PRINT_CONFIG} | --help]`,
    ...(own.length === 0
      ? []
      : [`       node ${script} COMMAND`, '', 'Commands, beside the running service with the same settings:', ...own]),
    '',
    settings,
    '',
  ];
  return lines.join('\n');
}

async function releaseVersion(manifest: URL): Promise<string> {
  return (JSON.parse(await readFile(manifest, 'utf8')) as { readonly version: string }).version;
}
