import { usageFailure } from './cli-failure.js';
import type { Output, TextSink } from './output.js';
import type { PasswordInput } from './password.js';
import type { ProfileFile } from './profile.js';
import { parseServiceUrl } from './resource-reference.js';
import type { Service } from './service.js';
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

/** Finds a service: the option, else the environment, else the profile. @throws CliFailure exit `usage`. */
export async function findService(
  context: CommandContext,
  kind: Service['kind'],
  option: string | undefined,
): Promise<Service> {
  const name = kind === 'api' ? 'the Admin API' : 'the Loader';
  const variable = kind === 'api' ? 'AZAION_API' : 'AZAION_LOADER';
  const insecure = context.env['ALLOW_INSECURE_API'] === 'true';
  const at = (url: string, from: string): Service => ({ kind, url: parseServiceUrl(url, from, insecure) });
  if (option !== undefined) return at(option, `--${kind}`);
  const configured = context.env[variable];
  if (configured !== undefined && configured !== '') return at(configured, variable);
  const remembered = (await context.profile.read())[kind];
  if (remembered === undefined)
    throw usageFailure(`It is not known where ${name} is.`, `Give --${kind} URL, or set ${variable}.`);
  return at(remembered, 'the profile');
}
