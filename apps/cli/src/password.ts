import { readFile } from 'node:fs/promises';
import type { Readable } from 'node:stream';

import { Secret } from '@azaion/kernel';

import { usageFailure } from './cli-failure.js';
import { failure, systemErrorCode } from './failure-table.js';
import type { TextSink } from './output.js';

const MAX_SECRET_CHARS = 1024;
const CTRL_C = '\u0003';
const CTRL_D = '\u0004';
const BACKSPACES: readonly string[] = ['\u007f', '\b'];
const ENDS: readonly string[] = ['\r', '\n', CTRL_D];

/** A terminal or pipe to read a password from. */
export interface PasswordInput extends Readable {
  readonly isTTY?: boolean;
  setRawMode?(raw: boolean): unknown;
  ref?(): unknown;
  unref?(): unknown;
}

/** What is asked for, and where else than at the prompt a command takes it from. */
export interface SecretKind {
  /** As it stands within a sentence. */
  readonly name: string;
  /** The option that names a file whose first line it is. */
  readonly option: string;
  /** The variable that holds it; with `_FILE` behind its name, the variable that names such a file. */
  readonly variable: string;
  /** Twice where it is made: a typo in it would be found when it is needed. */
  readonly asked: 'once' | 'twice';
}

/** The password of an account. */
export const PASSWORD: SecretKind = {
  name: 'password',
  option: '--password-file',
  variable: 'AZAION_PASSWORD',
  asked: 'once',
};

/** The password of an account, where another is asked for too. */
export const CURRENT_PASSWORD: SecretKind = { ...PASSWORD, name: 'current password' };

/** The password that an account shall have. */
export const NEW_PASSWORD: SecretKind = {
  name: 'new password',
  option: '--new-password-file',
  variable: 'AZAION_NEW_PASSWORD',
  asked: 'twice',
};

/** What protects a private key file. */
export const PASSPHRASE: SecretKind = {
  name: 'passphrase',
  option: '--passphrase-file',
  variable: 'AZAION_PASSPHRASE',
  asked: 'once',
};

/** What shall protect a private key file that is being made. */
export const NEW_PASSPHRASE: SecretKind = { ...PASSPHRASE, name: 'new passphrase', asked: 'twice' };

/** The places a secret may come from. There is no command-line argument: other users of a machine can read those. */
export interface SecretSources {
  readonly env: NodeJS.ProcessEnv;
  /** A hidden prompt when it is a terminal, else a line of it for each secret. */
  readonly input: PasswordInput;
  /** Where the prompt is written. */
  readonly prompt: TextSink;
}

/** Reads what a command must be told in secret. A command that needs two of them asks one reader for both. */
export class SecretReader {
  /** What has come behind the line that was read last. */
  private rest = '';

  constructor(private readonly sources: SecretSources) {}

  /**
   * Takes a secret from the first source there is: file, variable, standard input.
   *
   * @param file - What the option of this kind says.
   * @throws CliFailure exit `usage` when it is empty or longer than 1024 characters, or when what was typed twice differs;
   *   `interrupted` on Ctrl-C.
   */
  async read(kind: SecretKind, file: string | undefined): Promise<Secret<string>> {
    const { env, input } = this.sources;
    const path = file ?? env[`${kind.variable}_FILE`];
    const told = path === undefined ? env[kind.variable] : await firstLineOfFile(kind, path);
    if (told !== undefined) return usable(kind, told);
    if (input.isTTY !== true) return usable(kind, await this.line());
    const label = `${kind.name.charAt(0).toUpperCase()}${kind.name.slice(1)}`;
    const secret = usable(kind, await this.typed(`${label}: `));
    if (kind.asked === 'twice' && (await this.typed(`${label}, again: `)) !== secret.reveal())
      throw usageFailure(`The ${kind.name} was not the same both times.`, 'Run the command again.');
    return secret;
  }

  private async line(): Promise<string> {
    let text = '';
    for await (const part of this.parts()) {
      const [line = '', ...more] = `${text}${part}`.split('\n');
      if (more.length > 0) {
        this.rest = more.join('\n');
        return line.replace(/\r$/, '');
      }
      text = line;
      if (text.length > MAX_SECRET_CHARS) break;
    }
    return text;
  }

  /** Reads a line of a terminal without showing it. */
  private async typed(question: string): Promise<string> {
    const { input, prompt } = this.sources;
    prompt.write(question);
    input.setRawMode?.(true);
    try {
      let typed = '';
      for await (const part of this.parts()) {
        let end = 0;
        for (const character of part) {
          end += character.length;
          if (character === CTRL_C) throw failure('cli.interrupted', 'Stopped.');
          if (ENDS.includes(character)) {
            this.rest = part.slice(end);
            return typed;
          }
          typed = BACKSPACES.includes(character) ? typed.slice(0, -1) : typed + character;
        }
      }
      return typed;
    } finally {
      input.setRawMode?.(false);
      prompt.write('\n');
    }
  }

  /** What was left over, then what comes. The input stays open for the next secret, and holds up no program that is done. */
  private async *parts(): AsyncGenerator<string> {
    const { input } = this.sources;
    const left = this.rest;
    this.rest = '';
    if (left !== '') yield left;
    input.setEncoding('utf8');
    input.ref?.();
    try {
      for await (const part of input.iterator({ destroyOnReturn: false })) yield String(part);
    } finally {
      input.pause();
      input.unref?.();
    }
  }
}

function usable(kind: SecretKind, text: string): Secret<string> {
  if (text === '')
    throw usageFailure(
      `The ${kind.name} is empty.`,
      `Type it at the prompt, or give it with ${kind.option}, ${kind.variable} or standard input.`,
    );
  if (text.length > MAX_SECRET_CHARS)
    throw usageFailure(`The ${kind.name} is longer than ${String(MAX_SECRET_CHARS)} characters.`);
  return new Secret(text);
}

async function firstLineOfFile({ name, option, variable }: SecretKind, path: string): Promise<string> {
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    if (systemErrorCode(cause) === undefined) throw cause;
    throw usageFailure(
      `The file ${path} with the ${name} cannot be read.`,
      `Check what ${option} or ${variable}_FILE names, and its permissions.`,
    );
  });
  return text.split(/\r?\n/, 1)[0] ?? '';
}
