import { readFileSync } from 'node:fs';

import { Secret } from '@azaion/kernel';
import { validateSync } from 'class-validator';

type Kind = 'text' | 'integer' | 'flag' | 'list' | 'secret';

interface Variable {
  readonly property: string;
  readonly name: string;
  readonly kind: Kind;
}

const variablesOf = new WeakMap<object, Variable[]>();

function variable(name: string, kind: Kind): PropertyDecorator {
  return (prototype, property) => {
    const known = variablesOf.get(prototype) ?? [];
    variablesOf.set(prototype, [...known, { property: String(property), name, kind }]);
  };
}

/** A text. Unset or empty: the property keeps its initial value. */
export function EnvText(name: string): PropertyDecorator {
  return variable(name, 'text');
}

/** A whole number. Anything else stays a text, which `@IsInt()` refuses. */
export function EnvInteger(name: string): PropertyDecorator {
  return variable(name, 'integer');
}

/** `true` or `false`. Anything else stays a text, which `@IsBoolean()` refuses. */
export function EnvFlag(name: string): PropertyDecorator {
  return variable(name, 'flag');
}

/** Texts separated by commas; spaces around them and empty ones are dropped. */
export function EnvList(name: string): PropertyDecorator {
  return variable(name, 'list');
}

/** A `Secret<string>`, from the variable itself or from the file that `<name>_FILE` names (its last line break is dropped). Validators see the text. */
export function EnvSecret(name: string): PropertyDecorator {
  return variable(name, 'secret');
}

/** A configuration that cannot be used. The message lists every problem by the variable's name and never holds a value. */
export class ConfigError extends Error {
  constructor(readonly problems: readonly string[]) {
    super(`The configuration is not usable:\n${problems.map((problem) => `  ${problem}`).join('\n')}`);
    this.name = 'ConfigError';
  }
}

/** The environment, or a part of it. */
export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Reads a configuration class: every property has one `@Env…` decorator and the class-validator rules that hold for it.
 *
 * @throws ConfigError with all problems at once.
 */
export function readConfig<Config extends object>(type: new () => Config, env: Environment): Config {
  const config = new type() as Config & Record<string, unknown>;
  const checked = new type() as Config & Record<string, unknown>;
  const variables = allVariables(config);
  const problems: string[] = [];
  for (const { property, name, kind } of variables) {
    const text = kind === 'secret' ? secretText(name, env, problems) : nonEmpty(env[name]);
    if (text === undefined) continue;
    const value = kind === 'secret' ? text : parse(text, kind);
    Object.assign(checked, { [property]: value });
    Object.assign(config, { [property]: kind === 'secret' ? new Secret(text) : value });
  }
  for (const error of validateSync(checked, { forbidUnknownValues: false, validationError: { target: false } })) {
    const name = variables.find(({ property }) => property === error.property)?.name ?? error.property;
    if (problems.some((problem) => problem.startsWith(`${name}:`) || problem.startsWith(`${name}_FILE:`))) continue;
    const messages = Object.values(error.constraints ?? {}).map((message) =>
      message.replace(error.property, '').trim(),
    );
    problems.push(`${name}: ${error.value === undefined ? 'is required' : messages.join(', ')}`);
  }
  if (problems.length > 0) throw new ConfigError(problems);
  return config;
}

/** The configuration in effect, one `NAME=value` a line in the order of the class; secrets and the credentials in URLs are masked. */
export function printConfig(config: object): string {
  const values = config as Record<string, unknown>;
  return allVariables(config)
    .map(({ property, name }) => `${name}=${shown(values[property])}`)
    .join('\n');
}

function shown(value: unknown): string {
  if (value === undefined) return '';
  if (value instanceof Secret) return value.toString();
  if (Array.isArray(value)) return value.map(shown).join(',');
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return withoutCredentials(text);
}

/** What stands before the last `@` of an address, or of `user:password@host` without a scheme, however it is to be read: a password may hold any character. */
function withoutCredentials(text: string): string {
  return text
    .replace(/^([a-z][a-z0-9+.-]*:\/\/).*@/is, '$1[redacted]@')
    .replace(/^(?![a-z][a-z0-9+.-]*:\/\/)[^@]*:.*@/is, '[redacted]@');
}

function allVariables(config: object): readonly Variable[] {
  const variables: Variable[] = [];
  for (let level: unknown = config; level !== null; level = Object.getPrototypeOf(level))
    variables.unshift(...(variablesOf.get(level as object) ?? []));
  return variables;
}

function secretText(name: string, env: Environment, problems: string[]): string | undefined {
  const direct = nonEmpty(env[name]);
  const path = nonEmpty(env[`${name}_FILE`]);
  if (path === undefined) return direct;
  if (direct !== undefined) {
    problems.push(`${name}: is set twice, directly and by ${name}_FILE`);
    return undefined;
  }
  try {
    const text = nonEmpty(readFileSync(path, 'utf8').replace(/\r?\n$/, ''));
    if (text === undefined) problems.push(`${name}_FILE: the file is empty`);
    return text;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    problems.push(`${name}_FILE: the file cannot be read (${code ?? 'unknown reason'})`);
    return undefined;
  }
}

function parse(text: string, kind: Kind): unknown {
  if (kind === 'integer') return /^-?\d{1,15}$/.test(text.trim()) ? Number(text) : text;
  if (kind === 'flag') return text === 'true' ? true : text === 'false' ? false : text;
  if (kind === 'list')
    return text
      .split(',')
      .map((part) => part.trim())
      .filter((part) => part !== '');
  return text;
}

function nonEmpty(text: string | undefined): string | undefined {
  return text === undefined || text === '' ? undefined : text;
}
