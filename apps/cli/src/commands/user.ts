import type { Role } from '@azaion/identity';

import { AdminApi, allPages } from '../admin-api.js';
import { usageFailure } from '../cli-failure.js';
import type { CommandContext } from '../command-context.js';
import { counted } from '../format.js';
import { contentOf } from '../http.js';
import { NEW_PASSWORD, SecretReader } from '../password.js';
import { columns, shown } from '../table.js';

/** Options of every command on accounts. */
export interface UserOptions {
  readonly api?: string;
}

/** Options of `azaion user list`. */
export interface UserListOptions extends UserOptions {
  readonly role?: Role;
  readonly search?: string;
}

/** Options of the commands that set a password. */
export interface NewPasswordOptions extends UserOptions {
  readonly newPasswordFile?: string;
}

/** Options of `azaion user create`. */
export interface UserCreateOptions extends NewPasswordOptions {
  readonly role: Role;
}

/** `azaion user list`: accounts in the order of their addresses. */
export async function listUsers(context: CommandContext, { api, role, search }: UserListOptions): Promise<void> {
  const { routes } = await AdminApi.open(context, api);
  const filters = {
    ...(role === undefined ? {} : { searchRole: role }),
    ...(search === undefined ? {} : { searchEmail: search }),
  };
  const users = await allPages(
    (query) => routes.GET('/users', { params: { query: { ...filters, ...query } } }),
    (page) => page.users,
  );
  const rows = users.map((user) => [
    shown(user.email),
    shown(user.role),
    user.isEnabled ? 'enabled' : 'disabled',
    shown(user.lastLogin),
  ]);
  context.output.result({ users }, [
    ...columns(['ACCOUNT', 'ROLE', 'STATE', 'LAST LOGIN'], rows),
    `${counted(users.length, 'account')}.`,
  ]);
}

/** `azaion user create`: an account, with a password that its owner should change. */
export async function createUser(context: CommandContext, email: string, options: UserCreateOptions): Promise<void> {
  const { routes } = await AdminApi.open(context, options.api);
  const password = await new SecretReader(context).read(NEW_PASSWORD, options.newPasswordFile);
  const user = contentOf(
    await routes.POST('/users', { body: { email, password: password.reveal(), role: options.role } }),
  );
  context.output.result({ user }, [`Created ${user.email} (${user.role}).`]);
}

/** `azaion user set-role`: another role, from the next request on. */
export async function setRole(context: CommandContext, email: string, role: Role, { api }: UserOptions): Promise<void> {
  const { routes } = await AdminApi.open(context, api);
  await routes.PUT('/users/{email}/set-role/{role}', { params: { path: { email, role } } });
  context.output.result({ email, role }, [`${email} has the role ${role}. Its sessions have ended.`]);
}

/** `azaion user enable` and `azaion user disable`. */
export async function changeUse(
  context: CommandContext,
  change: 'disable' | 'enable',
  email: string,
  { api }: UserOptions,
): Promise<void> {
  const { routes } = await AdminApi.open(context, api);
  await routes.PUT(`/users/{email}/${change}`, { params: { path: { email } } });
  context.output.result({ email, isEnabled: change === 'enable' }, [
    change === 'enable' ? `${email} may be used again.` : `${email} is disabled: no login and no grant from now on.`,
  ]);
}

/** `azaion user delete`: what it published stays. */
export async function deleteUser(context: CommandContext, email: string, { api }: UserOptions): Promise<void> {
  const { routes } = await AdminApi.open(context, api);
  await routes.DELETE('/users/{email}', { params: { path: { email } } });
  context.output.result({ email }, [`Deleted ${email}. What it published stays.`]);
}

/** `azaion user set-password`: for somebody else, who has lost it. All sessions of the account end. */
export async function setPassword(context: CommandContext, email: string, options: NewPasswordOptions): Promise<void> {
  const { routes } = await AdminApi.open(context, options.api);
  const own = contentOf(await routes.GET('/users/current')).email;
  if (own.toLowerCase() === email.toLowerCase())
    throw usageFailure(`${own} is your own account.`, 'Run "azaion password": it asks for the current one too.');
  const password = await new SecretReader(context).read(NEW_PASSWORD, options.newPasswordFile);
  await routes.PATCH('/users/password', { body: { email, newPassword: password.reveal() } });
  context.output.result({ email }, [`${email} has a new password. Its sessions have ended.`]);
}
