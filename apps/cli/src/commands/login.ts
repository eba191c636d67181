import { type CommandContext, findService } from '../command-context.js';
import { usageFailure } from '../cli-failure.js';
import { PASSWORD, SecretReader } from '../password.js';
import { assertServiceKind } from '../service-kind.js';
import { describeToken } from '../session.js';

/** Options of `azaion login`. */
export interface LoginOptions {
  readonly api?: string;
  readonly loader?: string;
  readonly email?: string;
  readonly passwordFile?: string;
}

/** F1: logs in at the Admin API, or at a Loader where only that can be reached, and keeps the tokens in the profile. */
export async function login(context: CommandContext, options: LoginOptions): Promise<void> {
  if (options.api !== undefined && options.loader !== undefined)
    throw usageFailure('Log in at one service: give either --api or --loader.');
  const kind = options.loader === undefined ? 'api' : 'loader';
  const service = await findService(context, kind, options[kind]);
  await assertServiceKind(service, context.signal);
  const email = options.email ?? context.env['AZAION_EMAIL'] ?? (await context.profile.read()).email;
  if (email === undefined) throw usageFailure('It is not known who logs in.', 'Give --email, or set AZAION_EMAIL.');
  const password = await new SecretReader(context).read(PASSWORD, options.passwordFile);
  const session = await context.session.login(service, email, password);
  const { role } = describeToken(session.accessToken);
  context.output.result(
    { email, role, service: service.url, expiresAt: session.expiresAt, profile: context.profile.path },
    [`Logged in at ${service.url} as ${email}${role === undefined ? '' : ` (${role})`}.`],
  );
}
