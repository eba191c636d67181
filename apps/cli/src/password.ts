import { readFile } from 'node:fs/promises';
import type { Readable } from 'node:stream';

import { Secret } from '@azaion/kernel';

import { usageFailure } from './cli-failure.js';
import { failure } from './failure-table.js';
import type { TextSink } from './output.js';

const MAX_PASSWORD_CHARS = 1024;
const CTRL_C = '\u0003';
const CTRL_D = '\u0004';
const BACKSPACES: readonly string[] = ['\u007f', '\b'];
const ENDS: readonly string[] = ['\r', '\n', CTRL_D];

/** A terminal or pipe to read a password from. */
export interface PasswordInput extends Readable {
  readonly isTTY?: boolean;
  setRawMode?(raw: boolean): unknown;
}

/** The places a password may come from. There is no command-line argument: other users of a machine can read those. */
export interface PasswordSources {
  /** `--password-file`. */
  readonly file: string | undefined;
  /** `AZAION_PASSWORD`. */
  readonly variable: string | undefined;
  /** A hidden prompt when it is a terminal, else its first line. */
  readonly input: PasswordInput;
  /** Where the prompt is written. */
  readonly prompt: TextSink;
}

/**
 * Takes the password from the first source there is: file, variable, standard input.
 *
 * @throws CliFailure exit `usage` when it is empty or longer than 1024 characters; `interrupted` on Ctrl-C.
 */
export async function readPassword(sources: PasswordSources): Promise<Secret<string>> {
  const password = await fromFirstSource(sources);
  if (password === '')
    throw usageFailure(
      'The password is empty.',
      'Type it at the prompt, or give it with --password-file, AZAION_PASSWORD or standard input.',
    );
  if (password.length > MAX_PASSWORD_CHARS) throw usageFailure('The password is longer than 1024 characters.');
  return new Secret(password);
}

async function fromFirstSource({ file, variable, input, prompt }: PasswordSources): Promise<string> {
  if (file !== undefined) {
    try {
      return firstLine(await readFile(file, 'utf8'));
    } catch {
      throw usageFailure(`The password file ${file} cannot be read.`, 'Check the path and its permissions.');
    }
  }
  if (variable !== undefined) return variable;
  return input.isTTY === true ? promptHidden(input, prompt) : firstLineOf(input);
}

function firstLine(text: string): string {
  return text.split(/\r?\n/, 1)[0] ?? '';
}

async function firstLineOf(input: Readable): Promise<string> {
  let text = '';
  for await (const part of input) {
    text += String(part);
    if (text.includes('\n') || text.length > MAX_PASSWORD_CHARS + 1) break;
  }
  return firstLine(text);
}

/** Reads a line without showing it. */
async function promptHidden(input: PasswordInput, prompt: TextSink): Promise<string> {
  prompt.write('Password: ');
  input.setRawMode?.(true);
  input.setEncoding('utf8');
  try {
    let typed = '';
    for await (const part of input.iterator({ destroyOnReturn: false })) {
      for (const character of String(part)) {
        if (character === CTRL_C) throw failure('cli.interrupted', 'Stopped.');
        if (ENDS.includes(character)) return typed;
        typed = BACKSPACES.includes(character) ? typed.slice(0, -1) : typed + character;
      }
    }
    return typed;
  } finally {
    input.setRawMode?.(false);
    input.pause();
    prompt.write('\n');
  }
}
