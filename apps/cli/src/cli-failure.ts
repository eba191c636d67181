import type { ExitName } from './exit-codes.js';

/** Why a command could not do its work, in the three parts a person needs. */
export interface FailureText {
  /** Stable code (`area.problem`), for scripts. */
  readonly code: string;
  /** What happened. */
  readonly message: string;
  /** What it means. */
  readonly meaning: string;
  /** What to do next. */
  readonly next: string;
}

/** A command that could not do its work. It holds nothing secret: it is printed as it is. */
export class CliFailure extends Error implements FailureText {
  readonly code: string;
  readonly meaning: string;
  readonly next: string;
  /** What machines are told beside the error. */
  readonly facts: Readonly<Record<string, unknown>>;

  constructor(
    readonly exit: ExitName,
    text: FailureText,
    options: { cause?: unknown; facts?: Readonly<Record<string, unknown>> } = {},
  ) {
    super(text.message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'CliFailure';
    this.code = text.code;
    this.meaning = text.meaning;
    this.next = text.next;
    this.facts = options.facts ?? {};
  }
}

/** A mistake on the command line: the message says which, the remedy is the help. */
export function usageFailure(message: string, next = 'Run the command with --help to see what it takes.'): CliFailure {
  return new CliFailure('usage', {
    code: 'cli.usage',
    message,
    meaning: 'The command was not started; nothing was changed.',
    next,
  });
}
