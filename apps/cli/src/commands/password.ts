import { AdminApi } from '../admin-api.js';
import type { CommandContext } from '../command-context.js';
import { failureOf } from '../failure-table.js';
import { contentOf } from '../http.js';
import { CURRENT_PASSWORD, NEW_PASSWORD, SecretReader } from '../password.js';

/** Options of `azaion password`. */
export interface PasswordOptions {
  readonly api?: string;
  readonly passwordFile?: string;
  readonly newPasswordFile?: string;
}

/**
 * `azaion password`: changes the password of who is logged in. The Admin API ends all sessions of the account then, this one too, so that it
 * is logged in again.
 */
export async function changePassword(context: CommandContext, options: PasswordOptions): Promise<void> {
  const { service, routes } = await AdminApi.open(context, options.api);
  // Asked first: who is not logged in types no passwords in vain.
  const { email } = contentOf(await routes.GET('/users/current'));
  const secrets = new SecretReader(context);
  const current = await secrets.read(CURRENT_PASSWORD, options.passwordFile);
  const next = await secrets.read(NEW_PASSWORD, options.newPasswordFile);
  await routes.PATCH('/users/password', { body: { oldPassword: current.reveal(), newPassword: next.reveal() } });
  let loggedIn = true;
  try {
    await context.session.login(service, email, next);
  } catch (error) {
    // The password is changed all the same: a failure would say that it is not.
    loggedIn = false;
    context.output.note(`It was not possible to log in with it: ${failureOf(error).message}`);
  }
  context.output.result({ email, loggedIn }, [
    `${email} has a new password. Its other sessions have ended.`,
    loggedIn
      ? `You stay logged in at ${service.url}.`
      : `Log in again: azaion login --api ${service.url} --email ${email}`,
  ]);
}
