import { usageFailure } from './cli-failure.js';
import type { Output, TextSink } from './output.js';
import type { PasswordInput } from './password.js';
import type { ProfileFile } from './profile.js';
import { parseServiceUrl } from './resource-reference.js';
import type { SessionKeeper } from './session.js';

/** What every command works with. */
export interface CommandContext {
  readonly output: Output;
  readonly profile: ProfileFile;
  readonly session: SessionKeeper;
  readonly env: NodeJS.ProcessEnv;
  readonly input: PasswordInput;
  readonly prompt: TextSink;
  /** Aborted by Ctrl-C and SIGTERM. */
  readonly signal: AbortSignal;
}

/** Finds a service's URL: the option, else the environment, else the profile. @throws CliFailure exit `usage`. */
export async function serviceUrl(
  context: CommandContext,
  kind: 'api' | 'loader',
  option: string | undefined,
): Promise<string> {
  const name = kind === 'api' ? 'the Admin API' : 'the Loader';
  const variable = kind === 'api' ? 'AZAION_API' : 'AZAION_LOADER';
  const insecure = context.env['ALLOW_INSECURE_API'] === 'true';
  if (option !== undefined) return parseServiceUrl(option, `--${kind}`, insecure);
  const configured = context.env[variable];
  if (configured !== undefined && configured !== '') return parseServiceUrl(configured, variable, insecure);
  const remembered = (await context.profile.read())[kind];
  if (remembered === undefined)
    throw usageFailure(`It is not known where ${name} is.`, `Give --${kind} URL, or set ${variable}.`);
  return parseServiceUrl(remembered, 'the profile', insecure);
}
